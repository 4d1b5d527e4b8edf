package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"codeberg.org/stagex/sx/cache/memo/memotest"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
)

// TestSourcesAreHashedAtOnce: by several goroutines, and told in the order of the
// definitions.
func TestSourcesAreHashedAtOnce(t *testing.T) {
	p := newPretender(t)
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("p%02d", i)
		p.write("core/"+name+"/package.toml", fmt.Sprintf("[package]\nname = %q\nversion = \"1\"\n[sources.s]\nhash = %q\nfile = \"file\"\nmirrors = [\"https://example.org/file\"]\n",
			name, oci.DigestOf([]byte("other")).Hex()))
		p.write("core/"+name+"/Containerfile", "FROM scratch\nCOPY --from=fetch file /\n")
		edit(t, filepath.Join(p.dir, "fetch/core", name, "file"), name)
		want = append(want, "fetch/core/"+name+"/file")
	}
	m := memotest.NewMeeting(t)
	view, err := tree.Open(t.Context(), p.dir, tree.Options{KeyFile: filepath.Join(p.dir, "key"), Now: m.Now})
	p.must(err)
	defer view.Close()
	var got []string
	m.Want(t, func() {
		wrong, err := VerifySources(t.Context(), view.Tree, view.Graph.Definitions())
		p.must(err)
		for _, w := range wrong {
			got = append(got, w.Path)
		}
	})
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("wrong are %v, want %v", got, want)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	cancel(stop)
	if _, err := VerifySources(ctx, view.Tree, view.Graph.Definitions()); !errors.Is(err, stop) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

// TestOutputsAreVerifiedAtOnce: by several goroutines, and told in the order of the refs.
func TestOutputsAreVerifiedAtOnce(t *testing.T) {
	p := newPretender(t, "a:", "b:", "c:", "d:")
	p.published("a", "b", "c", "d")
	for _, name := range []string{"a", "b", "c", "d"} { // so that one blob of each is hashed
		p.must(os.Remove(filepath.Join(p.dir, "out/core-"+name+"/blobs/sha256", oci.DigestOf(fmt.Appendf(nil, "%q", name)).Hex())))
	}
	m := memotest.NewMeeting(t)
	view, err := tree.Open(t.Context(), p.dir, tree.Options{KeyFile: filepath.Join(p.dir, "key"), Now: m.Now})
	p.must(err)
	defer view.Close()
	var told []string
	m.Want(t, func() {
		_, err := verdict.Verify(t.Context(), &verdict.Judge{View: view}, view.Graph.All(), func(v verdict.Verdict) {
			told = append(told, v.Ref.Name+" "+v.String())
		})
		p.must(err)
	})
	if want := "[a UNPROVEN b UNPROVEN c UNPROVEN d UNPROVEN]"; fmt.Sprint(told) != want {
		t.Errorf("told %v, want %s", told, want)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	_, err = verdict.Verify(ctx, &verdict.Judge{View: view}, view.Graph.All(), func(verdict.Verdict) { cancel(stop) })
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want the context's cause", err)
	}
}
