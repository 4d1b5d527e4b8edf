// Package sbom lists outputs, their closure and the sources of both, as SPDX 2.3 or CycloneDX 1.6 in JSON.
//
// It says what the tree's definitions say, and which digest an output has by the digests that it is given. It refuses to
// say more: what is inside an image besides is not looked at, a licence is the definition's claim, and nothing is proven.
// Equal input gives equal bytes: there is no clock and no random number in it.
//
// It knows neither out/ nor the network. Start at [New].
package sbom

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/graph"
)

// A BOM is what a bill of materials says, whatever its format.
type BOM struct {
	Name    string      // of the document
	Created time.Time   // whole seconds
	Roots   []graph.Ref // what it is about, sorted
	Outputs []Output    // the closure, sorted
	Sources []Source    // of all of them, sorted, each definition's once
	Images  []Image     // of other registries
}

// An Output is one image of the tree.
type Output struct {
	*graph.Output
	Digest oci.Digest // zero if it is not known
}

// A Source is a file that a definition downloads.
type Source struct {
	graph.Source
	Definition string // "core/curl"
	Version    string // its own, or the definition's
}

// An Image is one of another registry.
type Image struct{ graph.Image }

// New lists refs and their closure. Digests say which image each output is; created is written into the document.
func New(g *graph.Graph, refs []graph.Ref, digests map[string]oci.Digest, created time.Time) BOM {
	roots := slices.SortedFunc(slices.Values(refs), graph.Ref.Compare)
	b := BOM{Roots: slices.Compact(roots), Created: created.UTC().Truncate(time.Second)}
	var names []string
	for _, r := range b.Roots {
		names = append(names, r.String())
	}
	b.Name = "stagex " + strings.Join(names[:min(len(names), 3)], " ")
	if more := len(names) - 3; more > 0 {
		b.Name += fmt.Sprintf(" and %d more", more)
	}
	seen := map[string]bool{}
	for _, r := range g.Closure(refs) {
		o := g.Output(r)
		b.Outputs = append(b.Outputs, Output{o, digests[r.String()]})
		d := o.Definition
		if seen[d.Dir] {
			continue
		}
		seen[d.Dir] = true
		for _, s := range d.Sources {
			b.Sources = append(b.Sources, Source{s, definitionOf(d), cmp.Or(s.Version, d.Version)})
		}
		for _, i := range d.Images {
			if id := i.Source(); !seen[id] {
				seen[id] = true
				b.Images = append(b.Images, Image{i})
			}
		}
	}
	slices.SortFunc(b.Sources, func(x, y Source) int {
		return cmp.Or(cmp.Compare(x.Definition, y.Definition), cmp.Compare(x.Key, y.Key))
	})
	slices.SortFunc(b.Images, func(x, y Image) int { return cmp.Compare(x.Source(), y.Source()) })
	return b
}

func definitionOf(d *graph.Definition) string { return d.Stage + "/" + d.Name }

// The identifiers of things within a document: letters, digits, dots and dashes, as SPDX wants them. Names may have other
// characters, or be long: then a part of a hash of the name is there.
const maxIdentifier = 128

func identifier(kind, name string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, name)
	if plain != name || len(plain) > maxIdentifier {
		plain = plain[:min(len(plain), maxIdentifier)]
		plain += fmt.Sprintf("-%x", sha256.Sum256([]byte(name)))[:9]
	}
	return kind + "-" + plain
}

func (o Output) id() string { return identifier("Output", o.String()) }
func (s Source) id() string { return identifier("Source", s.Definition+":"+s.Key) }
func (i Image) id() string  { return identifier("Image", i.Source()) }

// imageIDs are those of a definition's images of other registries, each once: it may take several platforms of one.
func imageIDs(d *graph.Definition) (ids []string) {
	for _, i := range d.Images {
		if id := (Image{i}).id(); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// registry is where StageX publishes.
const registry = "docker.io/stagex/"

// purl is "pkg:oci/core-curl@sha256:…?repository_url=…&tag=…"; without a digest the version is left out.
func (o Output) purl() string {
	version := ""
	if !o.Digest.IsZero() {
		version = o.Digest.String()
	}
	return purl("oci", o.String(), version, map[string]string{"repository_url": registry + o.String(), "tag": o.Tag()})
}

func (s Source) purl() string {
	return purl("generic", s.name(), s.Version, map[string]string{"checksum": "sha256:" + s.Hash.String(), "download_url": s.location()})
}

func (i Image) purl() string {
	_, name, _ := cutLast(i.Repository)
	return purl("oci", name, i.Digest, map[string]string{"repository_url": i.Host + "/" + i.Repository})
}

func cutLast(path string) (before, after string, ok bool) {
	if n := strings.LastIndexByte(path, '/'); n >= 0 {
		return path[:n], path[n+1:], true
	}
	return "", path, false
}

func purl(kind, name, version string, qualifiers map[string]string) string {
	for key, value := range qualifiers {
		if value == "" {
			delete(qualifiers, key)
		}
	}
	return packageurl.NewPackageURL(kind, "", name, version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
}

// name is that of the source's key, which says more than the file's.
func (s Source) name() string { return s.Key }

// location is the first mirror that is a URL of the web; "" if there is none.
func (s Source) location() string {
	for _, m := range s.Mirrors {
		if u, err := url.Parse(m); err == nil && u.Host != "" && strings.HasPrefix(u.Scheme, "http") {
			return m
		}
	}
	return ""
}

// website returns one that is a URL, else "".
func website(d *graph.Definition) string {
	if u, err := url.Parse(d.Website); err == nil && u.Host != "" && strings.HasPrefix(u.Scheme, "http") {
		return d.Website
	}
	return ""
}
