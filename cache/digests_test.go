package cache

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

func line(content, output string) string {
	return oci.DigestOf([]byte(content)).Hex() + " " + output + "\n"
}

// listedIn loads the digests/ of a tree, all of which can be read.
func listedIn(t *testing.T, tree string) Published {
	t.Helper()
	p, wrong := LoadDigests(os.DirFS(tree))
	for _, w := range wrong {
		t.Fatal(w)
	}
	return p
}

func TestParseDigests(t *testing.T) {
	p, err := ParseDigests(strings.NewReader(line("b", "core-b")+line("a", "core-a-b")), "core")
	want := Published{"core-b": oci.DigestOf([]byte("b")), "core-a-b": oci.DigestOf([]byte("a"))}
	if err != nil || !maps.Equal(p, want) {
		t.Errorf("got %v, %v, want %v", p, err, want)
	}
	if p, err := ParseDigests(strings.NewReader(""), "core"); err != nil || p == nil || len(p) != 0 {
		t.Errorf("an empty file: %v, %v", p, err)
	}
}

// Line ends as core.autocrlf or an editor leave them make no difference.
func TestParseDigestsOfEditors(t *testing.T) {
	plain := line("a", "core-a") + line("b", "core-b")
	want := must(ParseDigests(strings.NewReader(plain), "core"))(t)
	for _, text := range []string{
		strings.ReplaceAll(plain, "\n", "\r\n"), "\n" + plain + "\n\r\n",
		plain[:len(plain)-1], strings.ReplaceAll(plain, "\n", "\r\n\r\n"),
	} {
		if p, err := ParseDigests(strings.NewReader(text), "core"); err != nil || !maps.Equal(p, want) {
			t.Errorf("%q: got %v, %v", text, p, err)
		}
	}
	s := newStore(t)
	mkdir(t, s.tree, "digests")
	crlf := strings.ReplaceAll(plain, "\n", "\r\n")
	write(t, filepath.Join(s.tree, "digests", "core.txt"), []byte(crlf))
	want["user-x"] = oci.DigestOf(nil)
	must(0, s.WriteDigests(want))(t)
	if got := files(t, filepath.Join(s.tree, "digests"))["core.txt"]; got != crlf {
		t.Errorf("a file of the same lines was rewritten: %q", got)
	}
}

// A refusal reads no more than the limit, and its message is short.
func TestParseDigestsIsBounded(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("x", 64<<20), strings.Repeat("\n", 64<<20),
		strings.Repeat("0", 64) + " " + strings.Repeat("a", 64<<20),
	} {
		var err error
		r := strings.NewReader(text)
		used, objects := allocated(func() { _, err = ParseDigests(r, "core") })
		if read := len(text) - r.Len(); read > digestsLimit+1 || used > 100<<20 || objects > 10_000 {
			t.Errorf("%.10q…: read %d bytes, allocated %d in %d objects", text, read, used, objects)
		}
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("%.10q…: said %.200v", text, err)
		}
	}
}

func TestParseDigestsRefuses(t *testing.T) {
	good := line("a", "core-a")
	for text, want := range map[string]string{
		good + good:                               "digests/core.txt:2: output \"core-a\" is listed twice",
		good + line("b", "user-b"):                "digests/core.txt:2: output \"user-b\" is not of stage",
		line("a", "core"):                         "not of stage",
		line("a", "core-../x"):                    "naming output",
		line("a", "core-\x1b[31m"):                "naming output",
		line("a", "core-a\rb"):                    "naming output",
		good[:40]:                                 "digests/core.txt:1: want",
		strings.Replace(good, " ", "  ", 1):       "naming output",
		strings.ToUpper(good[:64]) + good[64:]:    "lower-case",
		zeros + " core-a\n":                       "zeros",
		"sha256:" + good:                          "64 hexadecimal digits",
		good + "\n\r\n" + good:                    "digests/core.txt:4: output \"core-a\" is listed twice",
		"\ufeff" + good:                           "64 hexadecimal digits",
		good + strings.Repeat("x", 1<<20):         "digests/core.txt:2: the line has more than 512 bytes: \"xxx",
		strings.Repeat("\n", digestsLimit) + good: "digests/core.txt: it has more than 8388608 bytes",
	} {
		p, err := ParseDigests(strings.NewReader(text), "core")
		if p != nil {
			t.Errorf("%.80q: a value came with an error", text)
		}
		wantError(t, err, want)
	}
}

func TestLoadDigests(t *testing.T) {
	tree := fstest.MapFS{
		"digests/core.txt":   {Data: []byte(line("a", "core-a"))},
		"digests/user.txt":   {Data: []byte(line("b", "user-b"))},
		"digests/README.txt": {Data: []byte("not ours")},
	}
	p, wrong := LoadDigests(tree)
	if len(wrong) > 0 || len(p) != 2 || p["user-b"] != oci.DigestOf([]byte("b")) {
		t.Errorf("got %v, %v", p, wrong)
	}
	tree["digests/weird.txt"], tree["digests/Core.txt"], tree["digests/notes"] = tree["digests/core.txt"], tree["digests/core.txt"], tree["digests/core.txt"]
	if stray := StrayDigests(tree); !slices.Equal(stray, []string{"Core.txt", "weird.txt"}) {
		t.Errorf("of no stage: %q", stray)
	}
	if p, wrong := LoadDigests(fstest.MapFS{}); len(wrong) > 0 || len(p) != 0 {
		t.Errorf("a tree without digests: %v, %v", p, wrong)
	}
}

// What is wrong in digests/ costs the outputs that it is or may be about their digests,
// and no others.
func TestLoadDigestsWrong(t *testing.T) {
	good := line("a", "core-a") + line("b", "core-b")
	manyWrong := strings.Repeat("x\n", wrongLines+1)
	for _, c := range []struct {
		core, want string // want: what is said
		listed     string // of core-a, core-b, user-u
		concerned  string // of core-a to core-c, user-u
	}{
		{good, "", "core-a core-b user-u", ""},
		{good + "<<<<<<< HEAD\n", "digests/core.txt:3: naming output", "core-a core-b user-u", "core-c"},
		{good + "x core-c\n", "digests/core.txt:3: parsing digest", "core-a core-b user-u", "core-c"},
		{good + "x core-a\n", "digests/core.txt:3: parsing digest", "core-b user-u", "core-a"},
		{"x core-a\n" + good, "digests/core.txt:1: parsing digest", "core-b user-u", "core-a"},
		{good + line("c", "core-a"), "digests/core.txt:3: output \"core-a\" is listed twice", "core-b user-u", "core-a"},
		{good + line("c", "core-a") + line("c", "core-a"), "digests/core.txt:4: output \"core-a\" is listed twice", "core-b user-u", "core-a"},
		{good + line("u", "user-u"), "digests/core.txt:3: output \"user-u\" is not of stage", "core-a core-b", "user-u"},
		{good + manyWrong, "digests/core.txt: more than 100 of its lines are wrong; the first is line 3: want", "user-u", "core-a core-b core-c"},
		{good + strings.Repeat("\n", digestsLimit), "digests/core.txt: it has more than", "user-u", "core-a core-b core-c"},
	} {
		p, wrong := LoadDigests(fstest.MapFS{"digests/core.txt": {Data: []byte(c.core)}, "digests/user.txt": {Data: []byte(line("u", "user-u"))}})
		var listed, concerned []string
		for _, output := range []string{"core-a", "core-b", "core-c", "user-u"} {
			_, ok := p[output]
			if ok {
				listed = append(listed, output)
			}
			if !ok && slices.ContainsFunc(wrong, func(w *DigestsError) bool { return w.Concerns(output) }) {
				concerned = append(concerned, output)
			}
		}
		text := errors.Join(func() (errs []error) {
			for _, w := range wrong {
				errs = append(errs, w)
			}
			return errs
		}()...)
		if got := strings.Join(listed, " "); got != c.listed {
			t.Errorf("%.99q: %v: lists %s, want %s", c.core, text, got, c.listed)
		}
		if got := strings.Join(concerned, " "); got != c.concerned {
			t.Errorf("%.99q: %v: unknown are %s, want %s", c.core, text, got, c.concerned)
		}
		if c.want == "" && text != nil || c.want != "" && (text == nil || !strings.Contains(text.Error(), c.want)) {
			t.Errorf("%.99q: said %v, want %s", c.core, text, c.want)
		}
	}
}

// A file that cannot be read whole is not rewritten: its other lines would go.
func TestWriteDigestsKeepsWhatIsWrong(t *testing.T) {
	s := newStore(t)
	mkdir(t, s.tree, "digests")
	before := line("a", "core-a") + "x core-b\n"
	write(t, filepath.Join(s.tree, "digests", "core.txt"), []byte(before))
	p, wrong := LoadDigests(os.DirFS(s.tree))
	p["core-a"], p["user-u"] = oci.DigestOf([]byte("new")), oci.DigestOf([]byte("u"))
	must(0, s.WriteDigests(p, wrong...))(t)
	want := map[string]string{"core.txt": before, "user.txt": line("u", "user-u")}
	if text := diff(want, files(t, filepath.Join(s.tree, "digests"))); text != "" {
		t.Error(text)
	}
}

func TestLoadDigestsHostile(t *testing.T) {
	tree := t.TempDir()
	root := must(os.OpenRoot(tree))(t)
	defer root.Close()
	mkdir(t, tree, "digests")
	path := filepath.Join(tree, "digests", "core.txt")
	must(0, unix.Mkfifo(path, 0o644))(t)
	refused := func(want string) {
		t.Helper()
		p, wrong := LoadDigests(root.FS())
		if len(p) > 0 || len(wrong) != 1 || !wrong[0].Concerns("core-x") || !strings.Contains(wrong[0].Error(), want) {
			t.Errorf("got %v, %v, want %s", p, wrong, want)
		}
	}
	refused("digests/core.txt: it is not a regular file")
	must(0, os.Remove(path))(t)
	write(t, filepath.Join(tree, "other"), []byte(line("a", "core-a")))
	must(0, os.Symlink("../other", path))(t)
	refused("digests/core.txt: it is a symbolic link, which sx does not follow")
	folder := filepath.Join(tree, "digests")
	must(0, errors.Join(os.Remove(path), os.Rename(folder, folder+"2"), os.WriteFile(folder, nil, 0o644)))(t)
	refused("digests: it is not a folder")
	must(0, errors.Join(os.Remove(folder), os.Symlink("digests2", folder)))(t)
	refused("digests: it is a symbolic link, which sx does not follow")
}

func TestWriteDigests(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	s := newStore(t)
	p := Published{}
	for _, output := range []string{"core-b", "core-a", "core-a-b", "core-a.b", "core-a+", "user-x", "bootstrap-y"} {
		p[output] = oci.DigestOf([]byte(output))
	}
	must(0, s.WriteDigests(p))(t)
	got := files(t, filepath.Join(s.tree, "digests"))
	want := map[string]string{
		"core.txt": line("core-a", "core-a") + line("core-a+", "core-a+") + line("core-a-b", "core-a-b") +
			line("core-a.b", "core-a.b") + line("core-b", "core-b"),
		"user.txt":      line("user-x", "user-x"),
		"bootstrap.txt": line("bootstrap-y", "bootstrap-y"),
	}
	if text := diff(want, got); text != "" {
		t.Errorf("digests/ differs:\n%s", text)
	}
	if text := diff(p, listedIn(t, s.tree)); text != "" {
		t.Errorf("it does not come back:\n%s", text)
	}
	core := filepath.Join(s.tree, "digests", "core.txt")
	if info := must(os.Stat(core))(t); info.Mode().Perm() != 0o644 {
		t.Errorf("its mode is %o", info.Mode().Perm())
	}
	must(0, os.Chtimes(core, time.Unix(7, 0), time.Unix(7, 0)))(t)
	delete(p, "user-x")
	must(0, s.WriteDigests(p))(t)
	if info := must(os.Stat(core))(t); !info.ModTime().Equal(time.Unix(7, 0)) {
		t.Error("an unchanged file was touched")
	}
	if got := files(t, filepath.Join(s.tree, "digests")); len(got) != 2 {
		t.Errorf("a stage without outputs has no file, but %v are there", got)
	}
}

func TestWriteDigestsRefuses(t *testing.T) {
	s := newStore(t)
	d := oci.DigestOf(nil)
	for _, p := range []Published{{"other-x": d}, {"core-x": {}}, {"core-../x": d}, {"": d}} {
		if err := s.WriteDigests(p); err == nil {
			t.Errorf("%v was written", p)
		}
	}
	if _, err := os.Lstat(filepath.Join(s.tree, "digests")); err == nil {
		t.Error("a refusal must come before any effect")
	}
	elsewhere := t.TempDir()
	must(0, os.Symlink(elsewhere, filepath.Join(s.tree, "digests")))(t)
	wantError(t, s.WriteDigests(Published{"core-x": d}), disk.IsLink)
	if len(files(t, elsewhere)) != 0 {
		t.Error("a link was followed")
	}
}

// The real tree's files are written as they were read; opt-in, by naming a checkout.
func TestUpstreamDigests(t *testing.T) {
	tree := os.Getenv("SX_TEST_TREE")
	if tree == "" {
		t.Skip("SX_TEST_TREE names no checkout")
	}
	formatted := must(listedIn(t, tree).format())(t)
	for _, stage := range stages {
		want, err := os.ReadFile(filepath.Join(tree, digestsFile(stage)))
		if err != nil || !bytes.Equal(want, formatted[stage]) {
			t.Errorf("%s differs: %v", digestsFile(stage), err)
		}
	}
}

func FuzzParseDigests(f *testing.F) {
	f.Add([]byte(line("a", "core-a") + line("b", "core-b")))
	f.Add([]byte(zeros + " core-a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseDigests(bytes.NewReader(data), "core")
		if err != nil {
			if p != nil {
				t.Error("a value came with an error")
			}
			return
		}
		formatted, err := p.format()
		if err != nil {
			t.Fatalf("it cannot be written again: %v", err)
		}
		again, err := ParseDigests(bytes.NewReader(formatted["core"]), "core")
		if err != nil || !maps.Equal(p, again) {
			t.Errorf("got %v, %v, want %v", again, err, p)
		}
	})
}
