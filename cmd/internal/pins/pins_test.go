package pins_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/pins"
)

// digits are a digest that a test can read.
func digits(c string) string { return strings.Repeat(c, 64) }

// releases are three: core-a changed in each, core-b in none, core-c is new.
func releases() *pins.Releases {
	release := func(name, text string) pins.Release { return pins.ParseRelease(name, [][]byte{[]byte(text)}) }
	return pins.NewReleases([]pins.Release{
		release("2026.10.0", digits("3")+" core-a\n"+digits("b")+" core-b\n"+digits("c")+" core-c\nno line\n"),
		release("2026.2.0", digits("2")+" core-a\n"+digits("b")+" core-b\n"),
		release("2025.12.1", digits("1")+" core-a\n"+digits("b")+" core-b\n"+digits("d")+" old\n"),
	})
}

func find(text string) []pins.Pin { return pins.Find([]byte(text), releases().Output) }

func TestFind(t *testing.T) {
	at := "@sha256:" + digits("1")
	for text, want := range map[string]string{
		"FROM stagex/core-a" + at + " AS a":                         "core-a::" + digits("1"),
		"FROM --platform=linux/amd64 stagex/core-a":                 "core-a::",
		"COPY --from=stagex/core-a:1.2" + at + " / /":               "core-a:1.2:" + digits("1"),
		"COPY --from=docker.io/stagex/core-a . /":                   "core-a::",
		"RUN --mount=type=bind,from=stagex/core-a,target=/x true":   "core-a::",
		"  image: quay.io/stagex/core-a:1":                          "core-a:1:",
		"  image: \"quay.io/stagex/core-a\"":                        "core-a::",
		"ARG BASE=stagex/core-a" + at:                               "core-a::" + digits("1"),
		"FROM ${BASE:-stagex/core-a:9}":                             "core-a:9:",
		"FROM ${REGISTRY}/stagex/core-a" + at:                       "core-a::" + digits("1"),
		"run: docker run --rm stagex/core-a sh":                     "core-a::",
		"skopeo copy docker://stagex/core-a oci:x":                  "core-a::",
		"FROM registry.example:5000/mirror/stagex/core-a" + at:      "core-a::" + digits("1"),
		"FROM mirror.example/sx-a" + at:                             "core-a::" + digits("1"),
		"FROM other.example/debian@sha256:" + digits("9"):           "",
		"ARG V=1.5\nFROM stagex/core-a:${V}":                        "core-a:1.5:",
		"ARG D=sha256:" + digits("2") + "\nFROM stagex/core-a@${D}": "core-a::" + digits("2"),
		"ARG D=" + digits("2") + "\nFROM stagex/core-a@sha256:$D":   "core-a::" + digits("2"),
		"FROM stagex/core-a@${NOWHERE}":                             "core-a::",
		"FROM stagex/core-a@sha256:123":                             "core-a::123",
		"see stagex/core-a.":                                        "",
		"We use stagex/core-a:1.2.":                                 "core-a:1.2:",
		"git clone https://codeberg.org/stagex/stagex":              "",
		"RUN docker run codeberg.org/stagex/stagex:1":               "",
		"git@codeberg.org:stagex/stagex.git":                        "",
		"COPY ./stagex/core-a /x":                                   "",
		"WORKDIR /stagex/core-a":                                    "",
		"cd out/mystagex/core-a:1":                                  "",
		"FROM stagex/core-a/more@sha256:" + digits("9"):             "",
		"FROM stagex/${NAME}":                                       "",
		"{\"image\":\"stagex/core-a" + at + "\"}":                   "core-a::" + digits("1"),
		"FROM stagex/core-a" + at + "\r\nFROM stagex/core-b:2":      "core-a::" + digits("1") + " core-b:2:",
		"https://hub.docker.com/r/stagex/core-a":                    "",
		"FROM STAGEX/core-a" + at:                                   "core-a::" + digits("1"),
	} {
		var got []string
		for _, p := range find(text) {
			got = append(got, fmt.Sprintf("%s:%s:%s", p.Output, p.Tag, p.Digest))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestJudge(t *testing.T) {
	r := releases()
	for text, want := range map[string]string{
		"FROM stagex/core-a@sha256:" + digits("1"):             "release [2025.12.1]  2026.10.0",
		"FROM stagex/core-b@sha256:" + digits("b"):             "release [2025.12.1 2026.2.0 2026.10.0]  2026.10.0",
		"FROM stagex/core-b@sha256:" + digits("1"):             "unknown [] its digest is of core-a 2026.10.0",
		"FROM stagex/core-a@sha256:" + digits("9"):             "unknown [] no release lists this digest 2026.10.0",
		"FROM stagex/core-x@sha256:" + digits("9"):             "unknown [] no release has this output, nor this digest ",
		"FROM stagex/old@sha256:" + digits("d"):                "release [2025.12.1]  2025.12.1",
		"FROM stagex/core-a:sx2025.12.1@sha256:" + digits("2"): "release [2026.2.0] its tag says 2025.12.1 2026.10.0",
		"FROM stagex/core-a:1":                                 "tag only []  2026.10.0",
		"FROM stagex/core-a@$X":                                "tag only [] $X has no value in this file 2026.10.0",
	} {
		f := r.Judge(find(text)[0])
		if got := fmt.Sprintf("%s %v %s %s", f.State, f.Releases, f.Why, f.Newest); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
		if gone := f.Gone != ""; gone != (f.Output == "old") || f.Current() != strings.Contains(text, "core-b@sha256:bbb") {
			t.Errorf("%s: gone is %q, current %t", text, f.Gone, f.Current())
		}
	}
}

func TestMixed(t *testing.T) {
	r := releases()
	for text, want := range map[string]bool{
		"FROM stagex/core-a@sha256:" + digits("1") + "\nFROM stagex/core-b@sha256:" + digits("b"): false,
		"FROM stagex/core-a@sha256:" + digits("1") + "\nFROM stagex/core-a@sha256:" + digits("2"): true,
		"FROM stagex/core-a:1\nFROM stagex/core-a:2":                                              false,
		"": false,
	} {
		var all []pins.Finding
		for _, p := range find(text) {
			all = append(all, r.Judge(p))
		}
		if pins.Mixed(all) != want {
			t.Errorf("%q: mixed is %t", text, !want)
		}
	}
}

// Update changes digits of digests, and no other byte.
func TestUpdate(t *testing.T) {
	text := "# head\r\nARG D=sha256:" + digits("1") + "\nFROM stagex/core-a@${D}\nFROM stagex/core-a:1.2@sha256:" + digits("2") +
		" AS x\nCOPY --from=stagex/core-b:1 a b\nFROM stagex/old@sha256:" + digits("d") + "\nFROM stagex/core-b@sha256:12\n\x00\xff"
	newest, _ := releases().Newest()
	got, changes := pins.Update([]byte(text), find(text), newest)
	want := strings.NewReplacer(digits("1"), digits("3"), digits("2"), digits("3")).Replace(text)
	if string(got) != want {
		t.Errorf("got %q", got)
	}
	var why []string
	for _, c := range changes {
		why = append(why, c.Output+" "+c.To+c.Why)
	}
	slices.Sort(why)
	if s := strings.Join(why, "\n"); s != "core-a "+digits("3")+"\ncore-a "+digits("3")+"\ncore-b it has no digest\ncore-b its digest is not 64 hexadecimal digits\n"+
		"old 2026.10.0 has no output old" {
		t.Error(s)
	}
	again, changes := pins.Update(got, find(string(got)), newest)
	if string(again) != string(got) || len(changes) != 3 {
		t.Errorf("a second update changes %v", changes)
	}
}

// One variable for two images stays, because it cannot have both digests.
func TestUpdateClash(t *testing.T) {
	text := "ARG D=" + digits("1") + "\nFROM stagex/core-a@sha256:$D\nFROM stagex/core-c@sha256:$D\n"
	newest, _ := releases().Newest()
	got, changes := pins.Update([]byte(text), find(text), newest)
	if string(got) != text || len(changes) != 2 || changes[0].To != "" {
		t.Errorf("got %q, %v", got, changes)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("FROM quay.io/stagex/core-a:${V}@sha256:" + digits("1") + "\nARG V=1"))
	f.Add([]byte("\xff\x00stagex/@@::$ ${"))
	r := releases()
	newest, _ := r.Newest()
	f.Fuzz(func(t *testing.T, data []byte) {
		all := pins.Find(data, r.Output)
		for _, p := range all {
			if finding := r.Judge(p); finding.State == pins.Known && len(finding.Releases) == 0 {
				t.Errorf("a release is known and not named: %v", p)
			}
		}
		out, _ := pins.Update(data, all, newest)
		if len(out) != len(data) {
			t.Error("the length changed")
		}
		for i := range out {
			if out[i] != data[i] && out[i] != '3' && out[i] != 'b' && out[i] != 'c' {
				t.Errorf("byte %d is %q", i, out[i])
			}
		}
	})
}
