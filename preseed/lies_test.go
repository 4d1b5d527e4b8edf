package preseed

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// began leaves the first half of a blob as a run leaves it that was broken off.
func began(t *testing.T, opts Options, img image) {
	t.Helper()
	d := img.layers[0]
	part, err := opts.Store.Partial(t.Context(), d, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	if _, err := part.Write(img.blobs[d][:500]); err != nil {
		t.Fatal(err)
	}
}

// Whatever a registry answers to a Range, the whole blob is asked for, and had.
func TestRangeRefused(t *testing.T) {
	ways := map[string]misuse{
		"no Content-Range": func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(206); return true },
		"another size": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 500-1999/2000")
			w.WriteHeader(206)
			return true
		},
		"other bytes": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 500-999/1000")
			w.WriteHeader(206)
			w.Write(noise(7, 500))
			return true
		},
		"more bytes": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Range", "bytes 500-999/1000")
			w.WriteHeader(206)
			w.Write(noise(1, 1000))
			return true
		},
		"a redirect to plain http": func(w http.ResponseWriter, r *http.Request) bool {
			redirect("http://10.255.255.1/x")(w, r, nil)
			return true
		},
		"a closed connection": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
	}
	for _, code := range []int{400, 401, 403, 404, 412, 416, 429, 500, 501, 503} {
		ways[fmt.Sprint(code)] = status(code)
	}
	for name, refuse := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			img := s.publish("core-a", noise(1, 1000))
			s.misbehave(on(img.layers[0].String(), func(w http.ResponseWriter, r *http.Request) bool {
				return r.Header.Get("Range") != "" && refuse(w, r)
			}))
			_, store := newTree(t)
			opts := options(t, store, s)
			began(t, opts, img)
			mustRun(t, opts, img)
		})
	}
}

// Headers lie; the hash tells what the bytes are, of blobs and of manifests.
func TestHashOverrulesHeaders(t *testing.T) {
	for name, lie := range map[string]func(w http.ResponseWriter, data []byte){
		"203": func(w http.ResponseWriter, data []byte) { w.WriteHeader(203); w.Write(data) },
		"206 of the whole": func(w http.ResponseWriter, data []byte) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(data)-1, len(data)))
			w.WriteHeader(206)
			w.Write(data)
		},
		"a Content-Encoding": func(w http.ResponseWriter, data []byte) { w.Header().Set("Content-Encoding", "gzip"); w.Write(data) },
		"a Content-Length too large": func(w http.ResponseWriter, data []byte) {
			w.Header().Set("Content-Length", itoa(len(data)+1))
			w.Write(data)
		},
		"a Content-Length too large, and a stall": func(w http.ResponseWriter, data []byte) {
			w.Header().Set("Content-Length", itoa(len(data)+1))
			w.Write(data)
			w.(http.Flusher).Flush()
			time.Sleep(2 * time.Second) // far above Stall
		},
		"no length": func(w http.ResponseWriter, data []byte) { w.(http.Flusher).Flush(); w.Write(data) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			img := s.publish("core-a", noise(1, 1000))
			s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.Contains(r.URL.Path, "/manifests/"):
					w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
					lie(w, img.manifest)
				case strings.Contains(r.URL.Path, img.layers[0].String()):
					lie(w, noise(1, 1000))
				default:
					return false
				}
				return true
			})
			_, store := newTree(t)
			opts := options(t, store, s)
			opts.Client.Limits = transfer.Limits{Stall: 300 * time.Millisecond}
			mustRun(t, opts, img)
		})
	}
}

// A blob that is shorter than its descriptor says, by whatever header, has ended
// early: the rest is asked for.
func TestShortBlob(t *testing.T) {
	s := newServer(t)
	img := s.publish("core-a", noise(1, 1000))
	first := true
	var ranges []string
	s.misbehave(on(img.layers[0].String(), func(w http.ResponseWriter, r *http.Request) bool {
		ranges = append(ranges, r.Header.Get("Range"))
		if !first {
			return false
		}
		first = false
		w.Header().Set("Content-Length", "400")
		w.Write(noise(1, 400))
		return true
	}))
	_, store := newTree(t)
	report := mustRun(t, options(t, store, s), img)
	if want := `["" "bytes=400-999"]`; fmt.Sprintf("%q", ranges) != want {
		t.Errorf("ranges %q, want %s", ranges, want)
	}
	if want := int64(1000 + len(img.blobs[img.config])); report.Bytes != want {
		t.Errorf("%d bytes, want %d", report.Bytes, want)
	}
}
