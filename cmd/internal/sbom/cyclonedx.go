package sbom

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// WriteCycloneDX writes CycloneDX 1.6 as JSON. An output depends on what it is built from: outputs, sources and images of
// other registries. The document is about the selected output, or about a group of several.
func (b BOM) WriteCycloneDX(w io.Writer) error {
	doc := cyclonedx.NewBOM()
	doc.SpecVersion, doc.JSONSchema = cyclonedx.SpecVersion1_6, "http://cyclonedx.org/schema/bom-1.6.schema.json"
	doc.Metadata = &cyclonedx.Metadata{
		Timestamp: b.Created.Format(time.RFC3339),
		Tools:     &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{{Type: cyclonedx.ComponentTypeApplication, Name: "sx"}}},
	}
	components, dependencies := []cyclonedx.Component{}, []cyclonedx.Dependency{}
	roots := map[string]bool{}
	for _, r := range b.Roots {
		roots[r.String()] = true
	}
	sources := b.byDefinition()
	for _, o := range b.Outputs {
		if c := o.cyclonedx(); len(roots) == 1 && roots[o.String()] {
			doc.Metadata.Component = &c
		} else {
			components = append(components, c)
		}
		dependencies = append(dependencies, o.dependsOn(sources[definitionOf(o.Definition)]))
	}
	if len(roots) > 1 {
		group, on := b.group()
		doc.Metadata.Component = &group
		dependencies = append([]cyclonedx.Dependency{on}, dependencies...)
	}
	for _, s := range b.Sources {
		components = append(components, s.cyclonedx())
		dependencies = append(dependencies, cyclonedx.Dependency{Ref: s.id()})
	}
	for _, i := range b.Images {
		components = append(components, i.cyclonedx())
		dependencies = append(dependencies, cyclonedx.Dependency{Ref: i.id()})
	}
	doc.Components, doc.Dependencies = &components, &dependencies
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	doc.SerialNumber = serial(sha256.Sum256(body))
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).Encode(doc)
}

// serial is a UUID of version 8 (RFC 9562: bits of one's own), for the same content the same.
func serial(sum [sha256.Size]byte) string {
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func (b BOM) group() (cyclonedx.Component, cyclonedx.Dependency) {
	var ids []string
	for _, r := range b.Roots {
		ids = append(ids, identifier("Output", r.String()))
	}
	id := "Selection"
	return cyclonedx.Component{BOMRef: id, Type: cyclonedx.ComponentTypePlatform, Name: b.Name}, cyclonedx.Dependency{Ref: id, Dependencies: &ids}
}

func (o Output) dependsOn(sources []Source) cyclonedx.Dependency {
	ids := []string{}
	for _, dep := range o.Deps {
		ids = append(ids, identifier("Output", dep.String()))
	}
	for _, s := range sources {
		ids = append(ids, s.id())
	}
	ids = append(ids, imageIDs(o.Definition)...)
	return cyclonedx.Dependency{Ref: o.id(), Dependencies: &ids}
}

func (o Output) cyclonedx() cyclonedx.Component {
	d := o.Definition
	c := cyclonedx.Component{
		BOMRef: o.id(), Type: cyclonedx.ComponentTypeContainer, Name: o.String(), Version: o.Version, Description: d.Description,
		PackageURL: o.purl(), Supplier: &cyclonedx.OrganizationalEntity{Name: supplier},
	}
	if l := o.license(); l.expression != "" {
		c.Licenses = &cyclonedx.Licenses{{Expression: l.expression}}
	} else if l.claim != "" {
		c.Licenses = &cyclonedx.Licenses{{License: &cyclonedx.License{Name: l.claim}}}
	}
	if !o.Digest.IsZero() {
		c.Hashes = sha256Of(o.Digest.Hex())
	}
	if at := website(d); at != "" {
		c.ExternalReferences = &[]cyclonedx.ExternalReference{{Type: cyclonedx.ERTypeWebsite, URL: at}}
	}
	return c
}

func sha256Of(hex string) *[]cyclonedx.Hash {
	return &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex}}
}

func (s Source) cyclonedx() cyclonedx.Component {
	c := cyclonedx.Component{
		BOMRef: s.id(), Type: cyclonedx.ComponentTypeFile, Name: s.name(), Version: s.Version, PackageURL: s.purl(),
		Hashes: sha256Of(s.Hash.String()), Properties: &[]cyclonedx.Property{{Name: "stagex:file", Value: s.File}},
	}
	if s.GitSHA != "" {
		*c.Properties = append(*c.Properties, cyclonedx.Property{Name: "stagex:git_sha", Value: s.GitSHA})
	}
	var refs []cyclonedx.ExternalReference
	for _, m := range s.Mirrors {
		if u, err := url.Parse(m); err == nil {
			refs = append(refs, cyclonedx.ExternalReference{Type: cyclonedx.ERTypeSourceDistribution, URL: u.String(), Hashes: c.Hashes})
		}
	}
	if len(refs) > 0 {
		c.ExternalReferences = &refs
	}
	return c
}

func (i Image) cyclonedx() cyclonedx.Component {
	return cyclonedx.Component{
		BOMRef: i.id(), Type: cyclonedx.ComponentTypeContainer, Name: i.Host + "/" + i.Repository, PackageURL: i.purl(),
		Hashes: sha256Of(strings.TrimPrefix(i.Digest, "sha256:")),
	}
}
