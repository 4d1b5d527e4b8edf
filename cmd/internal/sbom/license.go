package sbom

import (
	"regexp"
	"strings"

	"github.com/github/go-spdx/v2/spdxexp"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// A license is what package.toml claims.
type license struct {
	expression string   // of SPDX; "" if there is none, or the claim is not one
	claim      string   // as it is written
	refs       []string // "LicenseRef-…" in the expression, each once
}

// maxExpression bounds an expression, in bytes: the tree's longest has some hundreds.
const maxExpression = 4 << 10

var licenseRef = regexp.MustCompile(`LicenseRef-[A-Za-z0-9.-]+`)

func (o Output) license() license {
	l := license{claim: strings.TrimSpace(o.Definition.License)}
	if l.claim != "" && validExpression(l.claim) {
		l.expression = l.claim
		l.refs = licenseRef.FindAllString(l.claim, -1)
	}
	return l
}

// validExpression says that SPDX knows every name in text. References into other documents
// are not valid: this one names none.
func validExpression(text string) bool {
	if len(text) > maxExpression || strings.Contains(text, "DocumentRef-") {
		return false
	}
	valid, _ := spdxexp.ValidateLicenses([]string{text})
	return valid
}

// spdx returns the expression for an SPDX document: a claim that is none gets an
// identifier, "LicenseRef-…", whose text is the claim.
func (l license) spdx() (expression string, refs []string) {
	switch {
	case l.claim == "":
		return noAssertion, nil
	case l.expression == "":
		id := identifier("LicenseRef", l.claim)
		return id, []string{id}
	}
	return l.expression, l.refs
}

// extracted lists the identifiers that are not SPDX's own, of all outputs, each once.
func (b BOM) extracted() (all []*spdx.OtherLicense) {
	seen := map[string]bool{}
	for _, o := range b.Outputs {
		l := o.license()
		_, refs := l.spdx()
		for _, id := range refs {
			if !seen[id] {
				seen[id] = true
				all = append(all, &spdx.OtherLicense{LicenseIdentifier: id, LicenseName: noAssertion, ExtractedText: "Claimed by " + o.Definition.Dir + ": " + l.claim})
			}
		}
	}
	return all
}
