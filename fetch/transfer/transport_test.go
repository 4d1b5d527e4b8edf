package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A server that takes an upload too slowly is given up, however long it goes on.
func TestSlowUpload(t *testing.T) {
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if n, err := io.CopyN(io.Discard, r.Body, 1<<10); n == 0 || err != nil {
				return
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-over: // what was sent before is still to be read
				return
			}
		}
	}))
	defer s.Close()
	defer close(over)
	guard := &Transport{Base: NewTransport(Limits{}, 1, nil), Limits: Limits{Header: 5 * time.Second, Stall: 500 * time.Millisecond, MinRate: 100 << 20}.WithDefaults()}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL, io.LimitReader(zeros{}, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := guard.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	var slow *StallError
	if !errors.As(err, &slow) {
		t.Errorf("got %v, want a *StallError", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// memoryPart is a Part in memory.
type memoryPart struct {
	data []byte
	want [32]byte
}

func (p *memoryPart) Size() int64 { return int64(len(p.data)) }
func (p *memoryPart) Write(b []byte) (int, error) {
	p.data = append(p.data, b...)
	return len(b), nil
}
func (p *memoryPart) Reset() error { p.data = nil; return nil }
func (p *memoryPart) Check() error {
	if got := sha256.Sum256(p.data); got != p.want {
		return &HashError{Got: got, Want: p.want}
	}
	return nil
}

// A stream that HTTP/2 resets has ended early: the next request goes on from there.
func TestStreamReset(t *testing.T) {
	data := make([]byte, 300_000)
	requests := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("spoken to by %s", r.Proto)
		}
		if requests++; requests == 1 {
			w.Write(data[:100_000])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler) // RST_STREAM
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	client := Client{HTTP: s.Client(), Backoff: Exponential, Now: time.Now}
	part := &memoryPart{want: sha256.Sum256(data)}
	var came int64
	d := Download{
		Part: part, What: "file", Size: -1, Max: 1 << 20, Begin: func(*http.Response, int64, int64) {}, Advance: func(n int64) { came += n },
		Ask: func(ctx context.Context, offset int64) (*http.Response, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
			if err != nil {
				return nil, err
			}
			if offset > 0 {
				req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
			}
			return client.Do(req)
		},
	}
	if err := d.Run(t.Context()); err == nil || OutcomeOf(err) != Passes || part.Size() != 100_000 {
		t.Fatalf("%d bytes, %v", part.Size(), err)
	}
	if err := d.Run(t.Context()); err != nil || came != int64(len(data)) {
		t.Errorf("%d bytes came, %v", came, err)
	}
}

// The time that our own disk takes is not the server's.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		limits := Limits{Stall: time.Second, MinRate: 1, Now: time.Now}
		b := &body{ReadCloser: io.NopCloser(strings.NewReader("abc")), ctx: ctx, cancel: cancel, pace: pace{limits: limits}}
		for range 3 {
			if _, err := b.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // of synctest's clock
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}
