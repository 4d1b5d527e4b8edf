package fetch

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkFetch200 fetches 200 sources of 64 KiB from a server that takes
// 50 ms for each answer: one after the other as upstream's src/fetch.py does,
// and by Run with its defaults, four at once from one host.
func BenchmarkFetch200(b *testing.B) {
	files := map[string][]byte{}
	for i := range 200 {
		files[fmt.Sprintf("/%d", i)] = noise(uint64(i), 64<<10)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		w.Write(files[r.URL.Path])
	}))
	defer server.Close()
	var sources []Source
	for i := range 200 {
		path := fmt.Sprintf("/%d", i)
		sources = append(sources, source(path[1:], files[path], server.URL+path))
	}
	b.Run("serial-upstream-way", func(b *testing.B) {
		for b.Loop() {
			serial200(b, b.TempDir(), sources)
		}
	})
	b.Run("sx", func(b *testing.B) {
		for b.Loop() {
			run200(b, b.TempDir(), sources, Options{})
		}
	})
	b.Run("sx-again", func(b *testing.B) { // all there, verified by reading
		dir := b.TempDir()
		run200(b, dir, sources, Options{})
		for b.Loop() {
			run200(b, dir, sources, Options{Offline: true})
		}
	})
}

func run200(b *testing.B, dir string, sources []Source, opts Options) {
	opts.Tree = dir
	if _, err := Run(b.Context(), sources, opts); err != nil {
		b.Fatal(err)
	}
}

// serial200 is upstream's loop: download to the final name, read it again.
func serial200(b *testing.B, dir string, sources []Source) {
	for _, s := range sources {
		path := filepath.Join(dir, s.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := upstreamDownload(s.Mirrors[0], path); err != nil {
			b.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || sha256.Sum256(data) != s.Hash {
			b.Fatal("verifying", s.Path, err)
		}
	}
}

// upstreamDownload opens a connection for each file, as urlretrieve does.
func upstreamDownload(url, path string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadFrom(resp.Body)
	return err
}
