package cache

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Modes are explicit, whatever the umask; and nothing is there but the layout.
func TestCommitFiles(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	s := newStore(t)
	i := buildImage("layer")
	l := i.commit(t, s, "core-x")
	if text := diff(l, must(s.Verify(t.Context(), "core-x"))(t)); text != "" {
		t.Errorf("Commit and Verify differ:\n%s", text)
	}
	for path := range files(t, s.Out("")) {
		want := fs.FileMode(0o644)
		switch info := must(os.Lstat(s.Out(path)))(t); {
		case info.IsDir():
			want = 0o755
		case len(filepath.Base(path)) == 64:
			want = 0o444
		}
		if got := must(os.Lstat(s.Out(path)))(t).Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
	if info := must(os.Stat(filepath.Join(s.tree, "out")))(t); info.Mode().Perm() != 0o755 {
		t.Errorf("out/ has mode %o", info.Mode().Perm())
	}
	if left := files(t, s.Dir("tmp")); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestCommitReplaces(t *testing.T) {
	for name, exchange := range map[string]func(a, b string) error{
		"exchange": disk.Exchange,
		"aside":    func(a, b string) error { return errors.ErrUnsupported },
	} {
		s := newStore(t)
		s.exchange = exchange
		for _, before := range []func(){
			func() {},
			func() { buildImage("by make").write(t, s.Out("core-x")) },
			func() { mkdir(t, s.Out("core-x")) },
			func() { write(t, s.Out("core-x"), []byte("a file")) },
			func() { must(0, os.Symlink(t.TempDir(), s.Out("core-x")))(t) },
			func() { buildImage("first").commit(t, s, "core-x") },
		} {
			must(0, os.RemoveAll(s.Out("core-x")))(t)
			before()
			i := buildImage("second")
			i.commit(t, s, "core-x")
			if len(files(t, s.Out("core-x"))) != len(i.blobs)+4 {
				t.Errorf("%s: out holds %v", name, files(t, s.Out("core-x")))
			}
			must(s.Verify(t.Context(), "core-x"))(t)
			if left := len(files(t, s.Dir("tmp"))) + len(files(t, s.Dir("swap"))); left != 0 {
				t.Errorf("%s: %d files are left", name, left)
			}
		}
	}
}

func TestStagingRefuses(t *testing.T) {
	s := newStore(t)
	st := must(s.Stage("core-x"))(t)
	defer st.Close()
	data := []byte("layer")
	d := oci.DigestOf(data)
	failing := iotest.ErrReader(errors.New("broken off"))
	for name, err := range map[string]error{
		"longer":   st.WriteBlob(d, 5, strings.NewReader("layers")),
		"shorter":  st.WriteBlob(d, 5, strings.NewReader("laye")),
		"other":    st.WriteBlob(d, 5, strings.NewReader("lazer")),
		"size":     st.WriteBlob(d, 4, bytes.NewReader(data)),
		"negative": st.WriteBlob(d, -1, bytes.NewReader(data)),
		"digest":   st.WriteBlob(oci.Digest{}, 5, bytes.NewReader(data)),
		"reader":   st.WriteBlob(d, 5, failing),
		"absent":   st.LinkBlob(d, 5, filepath.Join(s.tree, "absent")),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if st.Has(d) || len(files(t, st.path)) != 3 || len(files(t, s.Dir("blobs", "sha256"))) != 0 {
		t.Errorf("a bad blob stays: %v", files(t, s.dir))
	}
	if err := st.WriteBlob(d, 5, bytes.NewReader(data)); err != nil || !st.Has(d) {
		t.Errorf("a good blob: %v", err)
	}
	wantError(t, st.WriteBlob(d, 6, bytes.NewReader(data)), "size is 5, not 6")
}

func TestCommitRefuses(t *testing.T) {
	s := newStore(t)
	was := buildImage("old").commit(t, s, "core-x")
	i := buildImage("new")
	for d := range i.blobs {
		st := must(s.Stage("core-x"))(t)
		for other, data := range i.blobs {
			if other != d {
				must(0, st.WriteBlob(other, int64(len(data)), bytes.NewReader(data)))(t)
			}
		}
		if l, err := st.Commit(t.Context(), i.top.Descriptor, nil); err == nil || l.Output != "" {
			t.Errorf("without %q: got %v, %v", i.blobs[d], l, err)
		}
		must(0, st.Close())(t)
		if _, err := st.Commit(t.Context(), i.top.Descriptor, nil); err == nil {
			t.Error("a staging was used twice")
		}
		must(0, os.RemoveAll(s.Dir("blobs", "sha256")))(t)
		mkdir(t, s.Dir("blobs", "sha256"))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	st := must(s.Stage("core-x"))(t)
	for d, data := range i.blobs {
		must(0, st.WriteBlob(d, int64(len(data)), bytes.NewReader(data)))(t)
	}
	_, err := st.Commit(ctx, i.top.Descriptor, nil)
	wantError(t, err, "enough")
	if text := diff(was, must(s.Verify(t.Context(), "core-x"))(t)); text != "" {
		t.Errorf("the old layout changed:\n%s", text)
	}
	if left := files(t, s.Dir("tmp")); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// Blobs that do not belong to the image are not left in its layout.
func TestCommitDropsStrays(t *testing.T) {
	s := newStore(t)
	i := buildImage("layer")
	i.add("stray", []byte("stray"))
	i.commit(t, s, "core-x")
	stray := filepath.Join(s.Out("core-x"), "blobs", "sha256", oci.DigestOf([]byte("stray")).Hex())
	if _, err := os.Lstat(stray); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stray blob: %v", err)
	}
}

func TestTwoStores(t *testing.T) {
	s := newStore(t)
	st := must(s.Stage("core-x"))(t)
	defer st.Close()
	other := open(t, s.tree) // must not take st for dead
	if _, err := os.Stat(st.layout()); err != nil {
		t.Fatalf("a live staging was cleared: %v", err)
	}
	buildImage("theirs").commit(t, other, "core-x")
	i := buildImage("ours")
	for d, data := range i.blobs {
		must(0, st.WriteBlob(d, int64(len(data)), bytes.NewReader(data)))(t)
	}
	must(st.Commit(t.Context(), i.top.Descriptor, nil))(t)
	if l := must(other.Verify(t.Context(), "core-x"))(t); l.Index != i.top.Digest {
		t.Error("the last commit wins")
	}
}

// TestCommitKeepsOld: what could not be read afterwards does not replace what is in out/.
func TestCommitKeepsOld(t *testing.T) {
	s := newStore(t)
	good := buildImage("good").commit(t, s, "core-x")
	for name, spoil := range map[string]func(i *image, st *Staging){
		"a blob is gone": func(_ *image, st *Staging) { must(0, os.Remove(st.blob(oci.DigestOf([]byte("one")))))(t) },
		"a blob is another file": func(_ *image, st *Staging) {
			path := st.blob(oci.DigestOf([]byte("one")))
			must(0, os.Remove(path))(t)
			write(t, path, []byte("one"))
		},
		"an annotation is too long": func(i *image, _ *Staging) {
			i.top.Annotations = map[string]string{"a": strings.Repeat("x", 1<<20+1)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := buildImage("one")
			st := must(s.Stage("core-x"))(t)
			defer st.Close()
			for d, data := range i.blobs {
				must(0, st.WriteBlob(d, int64(len(data)), bytes.NewReader(data)))(t)
			}
			spoil(i, st)
			if _, err := st.Commit(t.Context(), i.top.Descriptor, i.top.Annotations); err == nil {
				t.Error("committed")
			}
			if is := must(s.Verify(t.Context(), "core-x"))(t); is.Top != good.Top {
				t.Errorf("out/ has %v, had %v", is, good)
			}
		})
	}
}
