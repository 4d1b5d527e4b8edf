package oci

import "slices"

// plainReader reads an index or a manifest that is plain: each member is one that it
// knows and is there once, strings are printable ASCII without escapes, numbers are small
// and not negative, nothing is null. Such a text has one meaning for all readers. Of any
// other text it only says that it is not plain: then [DecodeDocument] decides.
//
// This only saves time: encoding/json takes ten times as long.
type plainReader struct {
	text  []byte
	at    int  // in text, what comes next
	other bool // it is not plain; the results mean nothing
}

var (
	documentNames   = []string{"schemaVersion", "mediaType", "manifests", "config", "layers", "annotations"}
	descriptorNames = []string{"mediaType", "digest", "size", "annotations", "platform"}
	platformNames   = []string{"architecture", "os", "variant"}
)

// readPlain reads a whole text that is within the limits of CheckBounds.
func readPlain(data []byte) (doc document, ok bool) {
	p := plainReader{text: data}
	doc = p.document()
	return doc, p.next() == 0 && p.at == len(data) && !p.other
}

func (p *plainReader) document() (doc document) {
	p.members(documentNames, func(name string) {
		switch name {
		case "schemaVersion":
			doc.SchemaVersion = int(p.number())
		case "mediaType":
			doc.MediaType = string(p.str())
		case "manifests":
			doc.Manifests = p.descriptors()
		case "config":
			config := p.descriptor()
			doc.Config = &config
		case "layers":
			doc.Layers = p.descriptors()
		case "annotations":
			doc.Annotations = p.annotations()
		}
	})
	return doc
}

func (p *plainReader) descriptors() []AnnotatedDescriptor {
	ds := []AnnotatedDescriptor{}
	p.list('[', ']', func() { ds = append(ds, p.descriptor()) })
	return ds
}

func (p *plainReader) descriptor() (d AnnotatedDescriptor) {
	p.members(descriptorNames, func(name string) {
		switch name {
		case "mediaType":
			d.MediaType = string(p.str())
		case "digest":
			var err error
			d.Digest, err = ParseDigest(string(p.str()))
			p.other = p.other || err != nil
		case "size":
			d.Size = p.number()
		case "annotations":
			d.Annotations = p.annotations()
		case "platform":
			platform := p.platform()
			d.Platform = &platform
		}
	})
	return d
}

func (p *plainReader) platform() (fields PlatformFields) {
	p.members(platformNames, func(name string) {
		switch name {
		case "architecture":
			fields.Architecture = string(p.str())
		case "os":
			fields.OS = string(p.str())
		case "variant":
			fields.Variant = string(p.str())
		}
	})
	return fields
}

func (p *plainReader) annotations() map[string]string {
	texts := map[string]string{}
	p.list('{', '}', func() {
		name := string(p.str())
		p.skip(':')
		_, twice := texts[name]
		p.other = p.other || twice
		texts[name] = string(p.str())
	})
	return texts
}

// members reads an object: member must read the value of the member of that name.
func (p *plainReader) members(names []string, member func(name string)) {
	var seen [8]bool
	p.list('{', '}', func() {
		read := p.str()
		p.skip(':')
		i := slices.IndexFunc(names, func(name string) bool { return name == string(read) })
		if i < 0 || seen[i] {
			p.other = true
			return
		}
		seen[i] = true
		member(names[i])
	})
}

// list reads what stands between first and last, with commas between: element must read
// one.
func (p *plainReader) list(first, last byte, element func()) {
	p.skip(first)
	if p.next() == last {
		p.skip(last)
		return
	}
	for element(); p.next() == ',' && !p.other; element() {
		p.skip(',')
	}
	p.skip(last)
}

// next skips white space, and returns the byte that follows, 0 at the end.
func (p *plainReader) next() byte {
	for ; p.at < len(p.text); p.at++ {
		switch b := p.text[p.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// skip skips white space and then b, which must be there.
func (p *plainReader) skip(b byte) {
	if p.next() != b {
		p.other = true
		return
	}
	p.at++
}

// str reads a string.
func (p *plainReader) str() []byte {
	p.skip('"')
	start := p.at
	for ; p.at < len(p.text) && !p.other; p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return p.text[start : p.at-1]
		case c < ' ', c > '~', c == '\\':
			p.other = true
		}
	}
	p.other = true
	return nil
}

// number reads a number of at most 18 digits.
func (p *plainReader) number() (n int64) {
	p.next()
	start := p.at
	for ; p.at < len(p.text) && '0' <= p.text[p.at] && p.text[p.at] <= '9'; p.at++ {
		n = n*10 + int64(p.text[p.at]-'0')
	}
	digits := p.at - start
	if digits == 0 || digits > 18 || digits > 1 && p.text[start] == '0' {
		p.other = true
	}
	return n
}
