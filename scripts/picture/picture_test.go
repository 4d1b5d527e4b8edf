package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The picture in the README is text only, in the elements that render writes, small, and
// shows the digests that the example tree has.
func TestPicture(t *testing.T) {
	data, err := os.ReadFile("../../docs/build.svg")
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 100_000 {
		t.Errorf("%d bytes", len(data))
	}
	text := checked(t, data)
	digests, err := os.ReadFile("../../examples/digests/core.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(digests)) {
		if want := strings.TrimSuffix(line, "\n") + " MATCH\n"; !strings.Contains(text, want) {
			t.Errorf("it does not show %q", want)
		}
	}
	if !strings.Contains(text, "16 outputs: 16 MATCH\n") || !strings.HasPrefix(text, "$ "+command+"\n") {
		t.Errorf("it shows\n%s", text)
	}
	if m := regexp.MustCompile(`/(home|tmp|root|work|var|Users)/|MISMATCH|warning`).FindString(text); m != "" {
		t.Errorf("it shows %q", m)
	}
	if !bytes.Contains(data, []byte("prefers-color-scheme:dark")) {
		t.Error("it is for light pages only")
	}
}

// checked returns the lines of text of a picture in which nothing else is.
func checked(t *testing.T, data []byte) string {
	t.Helper()
	var text strings.Builder
	var open []string
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			open = append(open, token.Name.Local)
			if !strings.Contains(" svg style rect g text tspan ", " "+token.Name.Local+" ") {
				t.Errorf("an element %s", token.Name.Local)
			}
			for _, a := range token.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Name.Local, "href") {
					t.Errorf("an attribute %s", a.Name.Local)
				}
			}
		case xml.EndElement:
			open = open[:len(open)-1]
			if token.Name.Local == "text" {
				text.WriteByte('\n')
			}
		case xml.CharData:
			if in := open[max(len(open)-1, 0):]; len(in) > 0 && (in[0] == "text" || in[0] == "tspan") {
				text.Write(token)
			}
		}
	}
}

func TestPlay(t *testing.T) {
	frames, err := play([]byte("Script started on x [y]\none <&>\r\n\x1b[1;32mtwo\x1b[0m\x1b[K\r\x1b[1A\x1b[Jthree\nScript done on z\n"), []byte("0.5 9\n0.5 40\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(frames) != 3 || frames[2].at != 1.8 {
		t.Fatalf("%d frames: %+v", len(frames), frames)
	}
	if text := checked(t, render(frames)); text != "$ sx build --all\n$ sx build --all\none <&>\n$ sx build --all\nthree\n" {
		t.Errorf("%q", text)
	}
	for _, bad := range []string{"\x1b]0;title\a", "\x1b[5n", "\a", "\xff"} {
		if _, err := play([]byte(bad), []byte("0 99\n")); err == nil {
			t.Errorf("%q is drawn", bad)
		}
	}
}
