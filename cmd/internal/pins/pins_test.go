package pins_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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

func find(text string) []pins.Pin { return pins.Find([]byte(text), releases().Outputs) }

func TestFind(t *testing.T) {
	at := "@sha256:" + digits("1")
	for text, want := range map[string]string{
		"FROM stagex/core-a" + at + " AS a":                                                         "core-a::" + digits("1"),
		"FROM --platform=linux/amd64 stagex/core-a":                                                 "core-a::",
		"COPY --from=stagex/core-a:1.2" + at + " / /":                                               "core-a:1.2:" + digits("1"),
		"COPY --from=docker.io/stagex/core-a . /":                                                   "core-a::",
		"RUN --mount=type=bind,from=stagex/core-a,target=/x true":                                   "core-a::",
		"  image: quay.io/stagex/core-a:1":                                                          "core-a:1:",
		"  image: \"quay.io/stagex/core-a\"":                                                        "core-a::",
		"ARG BASE=stagex/core-a" + at:                                                               "core-a::" + digits("1"),
		"FROM ${BASE:-stagex/core-a:9}":                                                             "core-a:9:",
		"FROM ${REGISTRY}/stagex/core-a" + at:                                                       "core-a::" + digits("1"),
		"run: docker run --rm stagex/core-a sh":                                                     "core-a::",
		"skopeo copy docker://stagex/core-a oci:x":                                                  "core-a::",
		"FROM registry.example:5000/mirror/stagex/core-a" + at:                                      "core-a::" + digits("1"),
		"FROM mirror.example/sx-a" + at:                                                             "core-a::" + digits("1"),
		"FROM other.example/debian@sha256:" + digits("9"):                                           "",
		"ARG V=1.5\nFROM stagex/core-a:${V}":                                                        "core-a:1.5:",
		"ARG D=sha256:" + digits("2") + "\nFROM stagex/core-a@${D}":                                 "core-a::" + digits("2"),
		"ARG D=" + digits("2") + "\nFROM stagex/core-a@sha256:$D":                                   "core-a::" + digits("2"),
		"FROM stagex/core-a@${NOWHERE}":                                                             "core-a::",
		"FROM stagex/core-a@sha256:123":                                                             "core-a::123",
		"see stagex/core-a.":                                                                        "",
		"We use stagex/core-a:1.2.":                                                                 "core-a:1.2:",
		"git clone https://codeberg.org/stagex/stagex":                                              "",
		"RUN docker run codeberg.org/stagex/stagex:1":                                               "",
		"git@codeberg.org:stagex/stagex.git":                                                        "",
		"COPY ./stagex/core-a /x":                                                                   "",
		"WORKDIR /stagex/core-a":                                                                    "",
		"cd out/mystagex/core-a:1":                                                                  "",
		"FROM stagex/core-a/more@sha256:" + digits("9"):                                             "",
		"{\"image\":\"stagex/core-a" + at + "\"}":                                                   "core-a::" + digits("1"),
		"FROM stagex/core-a" + at + "\r\nFROM stagex/core-b:2":                                      "core-a::" + digits("1") + " core-b:2:",
		"FROM stagex/${NAME}":                                                                       "${NAME}::",
		"push stagex/${NAME}:latest":                                                                "",
		"ARG NAME=core-a\nFROM stagex/${NAME}" + at:                                                 "core-a::" + digits("1"),
		"FROM stagex/${NAME}" + at:                                                                  "core-a::" + digits("1"),
		"FROM stagex/${NAME}@sha256:" + digits("9"):                                                 "${NAME}::" + digits("9"),
		"ARG R=docker.io/stagex\nFROM ${R}/core-a:1":                                                "core-a:1:",
		"ARG R=docker.io\nFROM ${R}/stagex/core-a:1":                                                "core-a:1:",
		"ARG R=docker.io/other\nFROM ${R}/core-a:1":                                                 "",
		"FROM stagex/core-a:${V:-1.5}":                                                              "core-a:1.5:",
		"ARG V=2\nFROM stagex/core-a:${V:-1.5}":                                                     "core-a:2:",
		"ARG V=2\nFROM stagex/core-a:v${V}-x":                                                       "core-a:v2-x:",
		"FROM stagex/core-a@${D:-sha256:" + digits("2") + "}":                                       "core-a::" + digits("2"),
		"ENV V=2 \\\n  D=sha256:" + digits("2") + " W=3\nFROM stagex/core-a:${V}@$D":                "core-a:2:" + digits("2"),
		"ARG V=2 D=sha256:" + digits("2") + "\r\nFROM stagex/core-a:${V}@$D\r\n":                    "core-a:2:" + digits("2"),
		"ARG D=sha256:" + digits("1") + "\nARG D=sha256:" + digits("2") + "\nFROM stagex/core-a@$D": "core-a::",
		"FROM \\\n  stagex/core-a":                                                                  "core-a::",
		"FROM --platform=linux/amd64 \\\r\n  stagex/core-a AS x":                                    "core-a::",
		"RUN --mount=type=bind,\\\n  from=stagex/core-a true":                                       "core-a::",
		"\ufeffFROM stagex/core-a":                                                                  "core-a::",
		"  # FROM stagex/core-a:1" + at:                                                             "",
		"// base = stagex/core-a:1":                                                                 "",
		"COPY <<EOF /Containerfile\nFROM stagex/core-a:1\nEOF":                                      "core-a:1:",
		"FROM stagex/core-a@sha256:" + digits("A"):                                                  "core-a::" + digits("A"),
		"jobs:\n  x:\n    container: stagex/core-a":                                                 "core-a::",
		"    - uses: docker://stagex/core-a:1":                                                      "core-a:1:",
		"{\"image\": \"stagex/core-a\"}":                                                            "core-a::",
		"services: {x: {image: stagex/core-a}}":                                                     "core-a::",
		"    image: ${R:-docker.io}/stagex/core-a:${V:?}":                                           "core-a:${V:?}:",
		"https://hub.docker.com/r/stagex/core-a":                                                    "",
		"FROM STAGEX/core-a" + at:                                                                   "core-a::" + digits("1"),
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
		"FROM stagex/core-a@sha256:" + digits("A"):             "unknown [] its digest has capital letters, which no registry takes 2026.10.0",
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

// A digest of several outputs is not of one that the reference does not name, and is not
// updated by guess.
func TestSharedDigest(t *testing.T) {
	r := pins.NewReleases([]pins.Release{
		pins.ParseRelease("2026.1.0", [][]byte{[]byte(digits("1") + " core-a\n" + digits("1") + " core-b\n")}),
		pins.ParseRelease("2026.2.0", [][]byte{[]byte(digits("2") + " core-a\n" + digits("3") + " core-b\n")}),
	})
	newest, _ := r.Newest()
	for text, want := range map[string]string{
		"FROM mirror.example/core-b@sha256:":   digits("3"),
		"FROM mirror.example/x/a:1@sha256:":    digits("2"),
		"FROM stagex/core-a@sha256:":           digits("2"),
		"FROM mirror.example/mine@sha256:":     digits("1"),
		"FROM mirror.example/${NAME}@sha256:":  digits("1"),
		"ARG N=b\nFROM stagex/core-$N@sha256:": digits("3"),
	} {
		data := []byte(text + digits("1"))
		got, changes := pins.Update(data, pins.Find(data, r.Outputs), newest)
		if string(got) != text+want || len(changes) != 1 || (changes[0].Why == "") == (want == digits("1")) {
			t.Errorf("%q: got %q, %+v", text, got, changes)
		}
	}
}

// A file of one long line, or of nothing but references, takes no longer than others.
func TestLarge(t *testing.T) {
	one := "stagex/core-a@sha256:" + digits("1")
	for name, text := range map[string]string{
		"one line": strings.Repeat(one+" ", 10_000),
		"lines":    strings.Repeat("FROM "+one+"\n", 10_000),
		"mirror":   strings.Repeat("FROM x.example/core-a@sha256:"+digits("1")+"\n", 10_000),
		"open":     strings.Repeat("${a/", 1<<16),
		"slashes":  strings.Repeat("a/", 1<<18),
		"values":   strings.Repeat("ARG A=1 B=2 C=3\n", 1<<14) + "FROM stagex/core-a:$A$A$A$A",
		"continue": strings.Repeat("\\\n", 1<<15) + strings.Repeat("stagex/core-a ", 1<<14),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			all := find(text)
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %s", took)
			}
			t.Log(len(all), time.Since(began))
			if strings.Contains(text, digits("1")) && (len(all) != 10_000 || all[9_999].Line == 1 && name != "one line") {
				t.Errorf("found %d, the last %s", len(all), all[len(all)-1])
			}
		})
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

// A digest is updated wherever its variable is set, and in the default of a use.
func TestUpdateVariables(t *testing.T) {
	newest, _ := releases().Newest()
	text := "ARG D=sha256:" + digits("1") + "\nFROM stagex/core-a@${D}\nARG D=sha256:" + digits("1") +
		"\nCOPY --from=stagex/core-a@${E:-sha256:" + digits("2") + "} a b\nFROM stagex/core-a@sha256:" + digits("A") + "\n"
	got, changes := pins.Update([]byte(text), find(text), newest)
	want := strings.NewReplacer(digits("1"), digits("3"), digits("2"), digits("3"), digits("A"), digits("3")).Replace(text)
	if string(got) != want || len(changes) != 3 {
		t.Errorf("got %q, %v", got, changes)
	}
	for text, want := range map[string]string{
		"ARG D=" + digits("1") + "\nARG D=" + digits("2") + "\nFROM stagex/core-a@sha256:$D": "$D has several values in this file",
		"FROM stagex/core-a@${D}":                      "${D} has no value in this file",
		"FROM stagex/${N}@sha256:" + digits("9"):       "${N} has no value in this file",
		"FROM stagex/core-a@sha256:" + digits("A")[1:]: "its digest is not 64 hexadecimal digits",
	} {
		got, changes := pins.Update([]byte(text), find(text), newest)
		if string(got) != text || len(changes) != 1 || changes[0].Why != want {
			t.Errorf("%q: got %q, %+v", text, got, changes)
		}
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
		all := pins.Find(data, r.Outputs)
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
