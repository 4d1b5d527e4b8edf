package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// In pixels. A column of the font has 7.8.
const (
	row            = 17
	border         = 12
	stands         = 6.0 // seconds that the last frame stays
	pictureW       = width*78/10 + 2*border
	pictureH       = height*row + 2*border
	styleOfColours = `.p{fill:#f6f8fa;stroke:#d0d7de}text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#1f2328;white-space:pre}` +
		`.b,.b1,.b2,.b3,.b6{font-weight:bold}.c1{fill:#cf222e}.c2{fill:#1a7f37}.c3{fill:#9a6700}.c6{fill:#1b7c83}` +
		`@media(prefers-color-scheme:dark){.p{fill:#0d1117;stroke:#30363d}text{fill:#e6edf3}.c1{fill:#ff7b72}.c2{fill:#3fb950}.c3{fill:#d29922}.c6{fill:#39c5cf}}` +
		`@media(prefers-reduced-motion:reduce){.m{animation:none}}`
)

// render draws the frames side by side, and moves one after the other behind the window.
// Without animations, the last one is seen.
func render(frames []frame) []byte {
	var b bytes.Buffer
	last := len(frames) - 1
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s, recorded in a terminal">`+"\n", pictureW, pictureH, command)
	fmt.Fprintf(&b, "<style>%s.m{transform:translateX(-%dpx);animation:m %.2fs steps(1,end) infinite}\n@keyframes m{", styleOfColours, last*pictureW, frames[last].at+stands)
	for i, f := range frames {
		fmt.Fprintf(&b, "%.2f%%{transform:translateX(-%dpx)}", 100*f.at/(frames[last].at+stands), i*pictureW)
	}
	fmt.Fprintf(&b, "100%%{transform:translateX(-%dpx)}}</style>\n", last*pictureW)
	fmt.Fprintf(&b, `<rect class="p" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`+"\n<g class=\"m\">\n", pictureW-1, pictureH-1)
	for i, f := range frames {
		for y, cells := range f.rows {
			drawRow(&b, i*pictureW+border, border+y*row+row-4, cells)
		}
	}
	b.WriteString("</g>\n</svg>\n")
	return b.Bytes()
}

// drawRow writes a row as one text, in which coloured parts are spans.
func drawRow(b *bytes.Buffer, x, y int, cells []cell) {
	if strings.TrimSpace(textOf(cells)) == "" {
		return
	}
	fmt.Fprintf(b, `<text x="%d" y="%d">`, x, y)
	for len(cells) > 0 {
		n := 1
		for n < len(cells) && cells[n].class == cells[0].class {
			n++
		}
		text := textOf(cells[:n])
		if n == len(cells) {
			text = strings.TrimRight(text, " ")
		}
		if class := classes(cells[0].class); class != "" {
			fmt.Fprintf(b, `<tspan class="%s">`, class)
			xml.EscapeText(b, []byte(text))
			b.WriteString("</tspan>")
		} else {
			xml.EscapeText(b, []byte(text))
		}
		cells = cells[n:]
	}
	b.WriteString("</text>\n")
}

// classes are those of the style for a cell's: "b2" is bold and green.
func classes(class string) string {
	bold, colour := strings.HasPrefix(class, "b"), strings.TrimPrefix(class, "b")
	var all []string
	if bold {
		all = append(all, "b")
	}
	if colour != "" {
		all = append(all, "c"+colour)
	}
	return strings.Join(all, " ")
}

func textOf(cells []cell) string {
	var b strings.Builder
	for _, c := range cells {
		b.WriteRune(c.r)
	}
	return b.String()
}
