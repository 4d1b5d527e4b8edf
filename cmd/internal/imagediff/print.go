package imagediff

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/text"
)

// A Printer shows a comparison while it is made.
type Printer interface {
	Begin(a, b Image) error
	Difference(d Difference) error
	End(s Summary) error
}

// Text prints for people: a heading for each layer and file, a line for each difference. Whatever comes from an image is
// escaped.
type Text struct {
	w       *bufio.Writer
	heading string
	path    string
}

var _ Printer = (*Text)(nil)

// NewText prints to w.
func NewText(w io.Writer) *Text { return &Text{w: bufio.NewWriter(w)} }

// Begin names both images.
func (t *Text) Begin(a, b Image) error {
	fmt.Fprintf(t.w, "A  %s  %s\nB  %s  %s\n", text.Field(a.Name), a.Root.Digest, text.Field(b.Name), b.Root.Digest)
	return t.w.Flush()
}

// maxShown bounds a value in a line of text, in bytes.
const maxShown = 160

func shown(s string) string {
	if s == "" {
		return "-"
	}
	return text.Shorten(text.Field(s), maxShown)
}

// Difference prints one.
func (t *Text) Difference(d Difference) error {
	if h := d.heading(); h != t.heading {
		t.heading, t.path = h, ""
		fmt.Fprintf(t.w, "\n%s\n", h)
	}
	indent := "  "
	if d.Layer > 0 && d.Path != "" {
		if path := text.Field(d.name()); path != t.path {
			t.path = path
			fmt.Fprintf(t.w, "  %s\n", path)
		}
		indent = "    "
	}
	fmt.Fprintf(t.w, "%s%s\n", indent, d.words())
	for _, line := range d.detail() {
		fmt.Fprintf(t.w, "%s    %s\n", indent, line)
	}
	return t.w.Flush()
}

// heading is the platform, and the layer or "documents".
func (d Difference) heading() string {
	var parts []string
	if d.Platform != "" {
		parts = append(parts, text.Field(d.Platform))
	}
	if d.Layer > 0 {
		parts = append(parts, fmt.Sprintf("layer %d", d.Layer))
	} else {
		parts = append(parts, "documents")
	}
	return strings.Join(parts, ", ")
}

// name is the path as bytes.
func (d Difference) name() string {
	if d.Raw != nil {
		return string(d.Raw)
	}
	return d.Path
}

// words are a difference in one line.
func (d Difference) words() string {
	var b strings.Builder
	b.WriteString(string(d.What))
	if d.Layer == 0 && d.Path != "" {
		b.WriteString(" " + text.Field(d.Path))
	}
	switch {
	case d.What == Only && d.B == "":
		b.WriteString(" in A: " + shown(d.A))
	case d.What == Only:
		b.WriteString(" in B: " + shown(d.B))
	case d.Content != nil && d.Content.SizeA != d.Content.SizeB:
		fmt.Fprintf(&b, ": %d | %d bytes", d.Content.SizeA, d.Content.SizeB)
	case d.Content != nil:
		fmt.Fprintf(&b, ": %d of %d bytes differ", d.Content.Differ, d.Content.SizeA)
	case d.What == Order:
		fmt.Fprintf(&b, ": %d out of order; first: %s | %s", d.Entries, shown(d.A), shown(d.B))
	default:
		fmt.Fprintf(&b, ": %s | %s", shown(d.A), shown(d.B))
	}
	if d.Skipped != "" {
		b.WriteString(" (not looked into: " + d.Skipped + ")")
	}
	if d.Cause != "" {
		b.WriteString("   [" + d.Cause + "]")
	}
	return b.String()
}

// detail says where contents differ.
func (d Difference) detail() []string {
	if d.Content == nil {
		return nil
	}
	where := fmt.Sprintf("offset 0x%x", d.Content.Offset)
	if d.Content.Line > 0 {
		where = fmt.Sprintf("line %d", d.Content.Line)
	}
	return []string{where + ": A " + shown(d.Content.A), strings.Repeat(" ", len(where)) + "  B " + shown(d.Content.B)}
}

// End prints the sums.
func (t *Text) End(s Summary) error {
	if s.Equal {
		fmt.Fprintln(t.w, "equal")
		return t.w.Flush()
	}
	fmt.Fprintf(t.w, "\n%s: %s\n", sum(s.Differences), counts(s.ByWhat))
	if len(s.ByCause) > 0 {
		fmt.Fprintf(t.w, "causes, guessed: %s\n", counts(s.ByCause))
	}
	return t.w.Flush()
}

func sum(n int64) string {
	if n == 1 {
		return "1 difference"
	}
	return fmt.Sprintf("%d differences", n)
}

// counts are "3 content, 1 mode", the most frequent first.
func counts[K ~string, N int | int64](m map[K]N) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b K) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(string(a), string(b))
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%d %s", m[name], name))
	}
	return strings.Join(parts, ", ")
}

// JSON prints one object, whose differences are written as they are found.
type JSON struct {
	w    *bufio.Writer
	some bool
}

var _ Printer = (*JSON)(nil)

// NewJSON prints to w.
func NewJSON(w io.Writer) *JSON { return &JSON{w: bufio.NewWriter(w)} }

// An imageJSON is an image as JSON has it.
type imageJSON struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Begin names both images.
func (j *JSON) Begin(a, b Image) error {
	x, err := json.Marshal(imageJSON{a.Name, a.Root.Digest.String()})
	if err != nil {
		return err
	}
	y, err := json.Marshal(imageJSON{b.Name, b.Root.Digest.String()})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(j.w, "{\n  \"a\": %s,\n  \"b\": %s,\n  \"differences\": [", x, y)
	return err
}

// Difference prints one, on a line of its own.
func (j *JSON) Difference(d Difference) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if j.some {
		j.w.WriteByte(',')
	}
	j.some = true
	_, err = fmt.Fprintf(j.w, "\n    %s", data)
	return err
}

// End prints the sums. An object without them is of a comparison that did not end.
func (j *JSON) End(s Summary) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if j.some {
		j.w.WriteString("\n  ")
	}
	fmt.Fprintf(j.w, "],\n  \"summary\": %s\n}\n", data)
	return j.w.Flush()
}
