package imagediff

import (
	"bufio"
	"fmt"
	"html/template"
	"io"
	"sync"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// maxRows bounds the differences of a page: a browser shows no million of them.
const maxRows = 20_000

// HTML prints one page without scripts, images or links: nothing is loaded, and html/template escapes what comes from an
// image, after package text made visible what would not show.
type HTML struct {
	w       *bufio.Writer
	heading string
	rows    int
}

var _ Printer = (*HTML)(nil)

// NewHTML prints to w.
func NewHTML(w io.Writer) *HTML { return &HTML{w: bufio.NewWriter(w)} }

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Parse(`
{{- define "begin" -}}
<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{{.A}} and {{.B}}</title>
<style>
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 80em; padding: 0 1em; color: #222; background: #fff }
h2 { font-size: 1.1em; margin: 1.5em 0 .3em }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25em .6em; border-bottom: 1px solid #ddd }
td { overflow-wrap: anywhere }
code { font: 13px/1.4 monospace; white-space: pre-wrap }
.a { background: #fdecea } .b { background: #e9f6ec } .cause { color: #8a5a00 }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 } td, th { border-color: #444 }
  .a { background: #3a1f1d } .b { background: #1c3322 } .cause { color: #e0b050 }
}
</style>
<h1>What differs</h1>
<p>A: <code>{{.A}}</code> <code>{{.DigestA}}</code><br>B: <code>{{.B}}</code> <code>{{.DigestB}}</code></p>
{{end -}}
{{- define "heading" -}}
{{if .Open}}</table>
{{end}}<h2>{{.Heading}}</h2>
<table><tr><th>Path<th>What<th>A<th>B<th>Cause, guessed</tr>
{{end -}}
{{- define "row" -}}
<tr><td><code>{{.Path}}</code><td>{{.What}}<td class="a"><code>{{.A}}</code><td class="b"><code>{{.B}}</code><td class="cause">{{.Cause}}</tr>
{{end -}}
{{- define "end" -}}
{{if .Open}}</table>
{{end}}{{if .Left}}<p>{{.Left}} more differences are not on this page; --json has all.</p>
{{end}}<h2>Sum</h2>
<p>{{if .Equal}}The images are equal.{{else}}{{.Sum}}: {{.What}}.{{end}}</p>
{{if .Cause}}<p class="cause">Causes, guessed: {{.Cause}}</p>
{{end}}</html>
{{end -}}
`))
})

// Begin prints the head of the page.
func (h *HTML) Begin(a, b Image) error {
	return page().ExecuteTemplate(h.w, "begin", map[string]any{
		"A": text.Field(a.Name), "B": text.Field(b.Name), "DigestA": a.Root.Digest, "DigestB": b.Root.Digest,
	})
}

// Difference prints one, if there are not too many.
func (h *HTML) Difference(d Difference) error {
	if h.rows++; h.rows > maxRows {
		return nil
	}
	if to := d.heading(); to != h.heading {
		if err := page().ExecuteTemplate(h.w, "heading", map[string]any{"Open": h.heading != "", "Heading": to}); err != nil {
			return err
		}
		h.heading = to
	}
	a, b := d.A, d.B
	if c := d.Content; c != nil {
		a = fmt.Sprintf("%s\nat 0x%x: %s", a, c.Offset, text.Field(c.A))
		b = fmt.Sprintf("%s\nat 0x%x: %s", b, c.Offset, text.Field(c.B))
	} else {
		a, b = text.Field(a), text.Field(b)
	}
	what := string(d.What)
	if d.Entries > 0 {
		what = fmt.Sprintf("%s (%d)", what, d.Entries)
	}
	return page().ExecuteTemplate(h.w, "row", map[string]any{"Path": text.Field(d.name()), "What": what, "A": a, "B": b, "Cause": d.Cause})
}

// End prints the sums.
func (h *HTML) End(s Summary) error {
	err := page().ExecuteTemplate(h.w, "end", map[string]any{
		"Open": h.heading != "", "Left": max(h.rows-maxRows, 0), "Equal": s.Equal, "Sum": sum(s.Differences),
		"What": counts(s.ByWhat), "Cause": counts(s.ByCause),
	})
	if err != nil {
		return err
	}
	return h.w.Flush()
}
