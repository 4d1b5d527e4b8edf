// Package page is the page that shows runs: its source in src/, and in dist/ the bundle
// that sx carries. README.md says how it is bundled and tested.
//
// A page is one file that loads nothing: the browser is told so by a
// Content-Security-Policy that names the hashes of its own script and style. It does not
// know what a run is: data comes as JSON.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
)

//go:embed dist/page.js
var script string

//go:embed dist/page.css
var style string

//go:embed src/page.html
var frame string

// Policy returns the Content-Security-Policy of a page. A live page may ask its own
// server for more.
func Policy(live bool) string {
	connect := ""
	if live {
		connect = "; connect-src 'self'"
	}
	return fmt.Sprintf("default-src 'none'; script-src %s; style-src %s%s; base-uri 'none'; form-action 'none'", source(script), source(style), connect)
}

func source(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Write writes a page with a title. Data becomes JSON in which "<", ">" and "&" are
// escaped, so that nothing in it ends the element that holds it.
func Write(w io.Writer, title string, live bool, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("writing a page: %w", err)
	}
	var out bytes.Buffer
	rest := frame
	for _, part := range []struct{ name, text string }{
		{"{{.Policy}}", html.EscapeString(Policy(live))}, {"{{.Title}}", html.EscapeString(title)}, {"{{.Style}}", style},
		{"{{.Data}}", string(encoded)}, {"{{.Script}}", script},
	} {
		before, after, ok := strings.Cut(rest, part.name)
		if !ok {
			panic("page: internal error: page.html lacks " + part.name)
		}
		out.WriteString(before)
		out.WriteString(part.text)
		rest = after
	}
	out.WriteString(rest)
	_, err = w.Write(out.Bytes())
	return err
}
