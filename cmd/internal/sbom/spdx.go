package sbom

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const (
	noAssertion = "NOASSERTION"
	supplier    = "StageX"
)

// WriteSPDX writes SPDX 2.3 as JSON. Dependencies are BUILD_DEPENDENCY_OF what is built from them; outputs are
// GENERATED_FROM their sources.
func (b BOM) WriteSPDX(w io.Writer) error {
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: b.Name,
		CreationInfo: &spdx.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "sx"}}, Created: b.Created.Format(time.RFC3339),
		},
	}
	for _, o := range b.Outputs {
		doc.Packages = append(doc.Packages, o.spdx())
	}
	for _, s := range b.Sources {
		doc.Packages = append(doc.Packages, s.spdx())
	}
	for _, i := range b.Images {
		doc.Packages = append(doc.Packages, i.spdx())
	}
	doc.OtherLicenses = b.extracted()
	b.relate(doc)
	var body bytes.Buffer
	if err := json.Write(doc, &body, json.EscapeHTML(false)); err != nil {
		return err
	}
	// One for each content, as the specification wants; nothing is there.
	doc.DocumentNamespace = fmt.Sprintf("https://stagex.tools/spdx/%x", sha256.Sum256(body.Bytes()))
	return json.Write(doc, w, json.EscapeHTML(false), json.Indent("  "))
}

func (b BOM) relate(doc *spdx.Document) {
	add := func(from, how, to string) {
		doc.Relationships = append(doc.Relationships, &spdx.Relationship{
			RefA: common.MakeDocElementID("", from), RefB: common.MakeDocElementID("", to), Relationship: how,
		})
	}
	for _, r := range b.Roots {
		add("DOCUMENT", common.TypeRelationshipDescribe, identifier("Output", r.String()))
	}
	sources := b.byDefinition()
	for _, o := range b.Outputs {
		for _, dep := range o.Deps {
			add(identifier("Output", dep.String()), common.TypeRelationshipBuildDependencyOf, o.id())
		}
		for _, id := range imageIDs(o.Definition) {
			add(id, common.TypeRelationshipBuildDependencyOf, o.id())
		}
		for _, s := range sources[definitionOf(o.Definition)] {
			add(o.id(), common.TypeRelationshipGeneratedFrom, s.id())
		}
	}
}

func (b BOM) byDefinition() map[string][]Source {
	all := map[string][]Source{}
	for _, s := range b.Sources {
		all[s.Definition] = append(all[s.Definition], s)
	}
	return all
}

func (o Output) spdx() *spdx.Package {
	d := o.Definition
	p := newPackage(o.id(), o.String(), o.Version, o.purl())
	p.PackageSupplier = &common.Supplier{SupplierType: "Organization", Supplier: supplier}
	p.PackageDescription, p.PackageHomePage, p.PrimaryPackagePurpose = d.Description, website(d), "CONTAINER"
	p.PackageSourceInfo = "built from " + d.Dir
	p.PackageLicenseDeclared, _ = o.license().spdx()
	if !o.Digest.IsZero() {
		p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: o.Digest.Hex()}}
		p.PackageDownloadLocation = "oci://" + registry + o.String() + "@" + o.Digest.String()
	}
	return p
}

func newPackage(id, name, version, purl string) *spdx.Package {
	return &spdx.Package{
		PackageSPDXIdentifier: common.ElementID(id), PackageName: name, PackageVersion: version, PackageDownloadLocation: noAssertion,
		PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion,
		PackageExternalReferences: []*spdx.PackageExternalReference{
			{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: purl},
		},
	}
}

func (s Source) spdx() *spdx.Package {
	p := newPackage(s.id(), s.name(), s.Version, s.purl())
	p.PackageFileName, p.PrimaryPackagePurpose = s.File, "SOURCE"
	p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: s.Hash.String()}}
	if s.GitSHA != "" {
		p.PackageSourceInfo = "git commit " + s.GitSHA
	}
	if at := s.location(); at != "" {
		p.PackageDownloadLocation = at
	}
	for _, m := range s.Mirrors {
		p.PackageExternalReferences = append(p.PackageExternalReferences, &spdx.PackageExternalReference{
			Category: common.CategoryOther, RefType: "mirror", Locator: strings.ReplaceAll(m, " ", "%20"),
		})
	}
	return p
}

func (i Image) spdx() *spdx.Package {
	p := newPackage(i.id(), i.Host+"/"+i.Repository, "", i.purl())
	p.PackageDownloadLocation, p.PrimaryPackagePurpose = "oci://"+i.Source(), "CONTAINER"
	p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: strings.TrimPrefix(i.Digest, "sha256:")}}
	return p
}
