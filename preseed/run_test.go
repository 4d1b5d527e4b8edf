package preseed

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// mustRun preseeds and wants no error.
func mustRun(t *testing.T, opts Options, images ...image) Report {
	t.Helper()
	report, err := Run(t.Context(), wanted(images...), opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func wanted(images ...image) []Image {
	var all []Image
	for _, img := range images {
		all = append(all, img.wanted())
	}
	return all
}

func TestRun(t *testing.T) {
	s := newServer(t)
	shared := noise(1, 100_000)
	a := s.publish("core-a", shared, noise(2, 10))
	b := s.publish("core-b", shared, noise(3, 10), noise(3, 10)) // the same layer twice, too
	tree, store := newTree(t)

	report := mustRun(t, options(t, store, s), a, b)
	if len(report.Fetched) != 2 {
		t.Errorf("fetched %v", report.Fetched)
	}
	// Every blob once, whoever names it.
	got := s.requests()
	if len(got) != len(slices.Compact(slices.Clone(got))) || len(got) != 2+2+3 {
		t.Errorf("requests are %q", got)
	}
	for _, img := range []image{a, b} {
		l, err := store.Verify(t.Context(), img.output)
		if err != nil || l.Digest() != img.digest() || l.OneLevel || len(l.Stray) > 0 {
			t.Errorf("out/%s is %+v, %v", img.output, l, err)
		}
		rec, err := store.Record(img.output)
		if err != nil || rec.Origin != cache.Preseeded || rec.From != s.registry().String() || rec.Exact(l) != nil {
			t.Errorf("the record is %+v, %v", rec, err)
		}
		if _, proven := store.Proof(img.output, img.digest()); proven {
			t.Errorf("out/%s passes for built here", img.output)
		}
	}
	x, _ := os.Stat(filepath.Join(tree, "out/core-a/blobs/sha256", a.layers[0].Hex()))
	y, _ := os.Stat(filepath.Join(tree, "out/core-b/blobs/sha256", b.layers[0].Hex()))
	if !os.SameFile(x, y) {
		t.Error("the shared layer is stored twice")
	}

	// Again: not a request, also where the server is gone.
	s.Close()
	report = mustRun(t, options(t, openStore(t, tree), s), a, b)
	if len(report.Present) != 2 || len(s.requests()) != 0 {
		t.Errorf("the second run: %+v", report)
	}
}

// What is anywhere in out/ is not downloaded: not after out/core-a was removed, and
// not where make or docker save left the blobs.
func TestRunLinks(t *testing.T) {
	s := newServer(t)
	a := s.publish("core-a", noise(1, 1000), noise(2, 10))
	tree, store := newTree(t)
	mustRun(t, options(t, store, s), a)
	want := files(t, filepath.Join(tree, "out"))
	s.requests()

	if err := os.RemoveAll(filepath.Join(tree, "out/core-a")); err != nil {
		t.Fatal(err)
	}
	if report := mustRun(t, options(t, store, s), a); len(report.Linked) != 1 || len(s.requests()) != 0 {
		t.Errorf("after rm -r: %+v", report)
	}

	for name, spoil := range map[string]func(folder string){
		"as make leaves it":        func(string) {},
		"as docker save leaves it": func(folder string) { dockerSave(t, folder, a) },
	} {
		t.Run(name, func(t *testing.T) {
			other, store := newTree(t)
			if err := os.CopyFS(filepath.Join(other, "out"), os.DirFS(filepath.Join(tree, "out"))); err != nil {
				t.Fatal(err)
			}
			spoil(filepath.Join(other, "out/core-a"))
			report := mustRun(t, options(t, store, s), a)
			if len(report.Linked) != 1 || len(s.requests()) != 0 {
				t.Errorf("%+v", report)
			}
			if d := diff(want, files(t, filepath.Join(other, "out"))); d != "" {
				t.Error(d)
			}
		})
	}
}

// dockerSave rewrites a folder as `docker save | tar -x` leaves it.
func dockerSave(t *testing.T, folder string, img image) {
	t.Helper()
	for name, data := range map[string]string{
		"index.json": `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeIndex + `","manifests":[{"mediaType":"` + oci.MediaTypeManifest +
			`","digest":"` + img.digest().String() + `","size":` + itoa(len(img.manifest)) + `}]}`,
		"manifest.json": "[]",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The next registry is asked where one refuses, is gone, lacks an image or a blob.
func TestRegistriesInTurn(t *testing.T) {
	for name, bad := range map[string]func(s *server, img image){
		"gone":      func(s *server, _ image) { s.Close() },
		"empty":     func(*server, image) {},
		"broken":    func(s *server, _ image) { s.misbehave(status(500)) },
		"forbidden": func(s *server, _ image) { s.misbehave(status(403)) },
		"no layer":  func(s *server, img image) { s.put(img); s.misbehave(on(img.layers[0].String(), status(404))) },
		"other blob": func(s *server, img image) {
			s.put(img)
			s.misbehave(on(img.layers[0].String(), answer(noise(9, 1000))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := newServer(t), newServer(t)
			img := second.publish("core-a", noise(1, 1000))
			bad(first, img)
			_, store := newTree(t)
			report := mustRun(t, options(t, store, first, second), img)
			if len(report.Fetched) != 1 {
				t.Errorf("%+v", report)
			}
			if _, err := store.Verify(t.Context(), "core-a"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A registry with a quota answers so many manifests and then 429: the second one
// gives the rest, and the first is not asked again.
func TestQuota(t *testing.T) {
	first, second := newServer(t), newServer(t)
	var images []image
	for i := range 10 {
		img := newImage("core-"+string(rune('a'+i)), noise(uint64(i), 100))
		first.put(img)
		second.put(img)
		images = append(images, img)
	}
	var mu sync.Mutex
	left, refused := 4, 0
	first.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("RateLimit-Limit", "4;w=21600")
		if left > 0 {
			left--
			w.Header().Set("RateLimit-Remaining", itoa(left)+";w=21600")
			return false
		}
		refused++
		w.Header().Set("RateLimit-Remaining", "0;w=21600")
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	_, store := newTree(t)
	told := &tell{}
	opts := options(t, store, first, second)
	opts.Status, opts.Images = told, 1
	report := mustRun(t, opts, images...)
	if len(report.Fetched) != 10 || refused != 1 || report.Quotas[first.host()].Remaining != 0 {
		t.Errorf("%+v, refused %d times", report, refused)
	}
	from := map[string]int{}
	for _, img := range images {
		rec, _ := store.Record(img.output)
		from[rec.From]++
	}
	if from[first.registry().String()] != 4 || from[second.registry().String()] != 6 {
		t.Errorf("images came from %v", from)
	}
	want := "warn " + first.registry().String() + ": too many requests (HTTP status 429): 0 of 4 pulls left in 6h0m0s; it asks to wait for 1h0m0s; going on with " + second.registry().String()
	if !slices.Contains(told.lines, want) {
		t.Errorf("told %q\nwant %q", told.lines, want)
	}

	// Without another registry the run ends at once and says why, and keeps what it had.
	_, alone := newTree(t)
	opts = options(t, alone, first)
	mu.Lock()
	left = 3
	mu.Unlock()
	report, err := Run(t.Context(), wanted(images...), opts)
	var failed *Error
	if !errors.As(err, &failed) || len(failed.Failures) != 7 || len(report.Fetched) != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	var limit *LimitError
	if !errors.As(err, &limit) {
		t.Errorf("the error is %v", err)
	}
}
