// Package live serves the page of the newest run while it goes on.
//
// It listens on loopback addresses only, answers GET and HEAD for two paths, and writes
// nothing. Another user of the machine or a page in the user's browser may send
// requests: each needs a random token of the URL, a Host that names this server, and, if
// the browser sends an Origin or says where a request is from, this server's own.
//
// It does not know what a run is: the caller gives the data and a stamp of it.
package live

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/report/page"
)

// Server is a server for one page.
type Server struct {
	listener net.Listener
	token    string
	data     func(context.Context) ([]byte, error)
	stamp    func() (string, error)
	redirect *os.File // of WriteRedirect, locked; nil without one
}

// Listen returns a server that listens at address, which must be a loopback address with
// a port; port 0 is any. Data returns the JSON of the page, and stamp a text that
// changes when the data does.
func Listen(address string, data func(context.Context) ([]byte, error), stamp func() (string, error)) (*Server, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("serving at %q: want an address and a port, as 127.0.0.1:8080", address)
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("serving at %q: only addresses of this machine (127.0.0.1, [::1], localhost) are served; from elsewhere use ssh -L", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &Server{listener: l, token: rand.Text(), data: data, stamp: stamp}, nil
}

// URL returns the address of the page, with its token.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/?token=" + s.token }

// WriteRedirect writes a file of mode 0600 into dir that leads a browser to the page, and
// returns its path: the command line of a browser, which other users see, has no token.
// Each server has a file of its own, which Close removes; those of servers that were
// killed are removed here.
func (s *Server) WriteRedirect(dir string) (string, error) {
	sweep(dir)
	path := filepath.Join(dir, redirectPrefix+rand.Text()+".html")
	f, err := disk.LockFile(path)
	if err != nil {
		return "", err
	}
	s.redirect = f
	_, err = fmt.Fprintf(f, "<!DOCTYPE html><meta charset=utf-8><meta name=referrer content=no-referrer><meta http-equiv=refresh content=\"0;url=%s\"><title>sx report</title>\n",
		html.EscapeString(s.URL()))
	return path, err
}

// redirectPrefix begins the names of files of [Server.WriteRedirect].
const redirectPrefix = "report-live"

// sweep removes the files of servers that are gone: a live one holds a lock on its own.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), redirectPrefix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := disk.OpenOrCreate(path)
		if err != nil {
			continue
		}
		if disk.TryClaim(f, path) {
			os.Remove(path)
		}
		f.Close()
	}
}

// Close stops listening.
func (s *Server) Close() {
	s.listener.Close()
	if s.redirect != nil {
		os.Remove(s.redirect.Name())
		s.redirect.Close()
	}
}

// Bounds of a connection.
const (
	readTimeout  = 10 * time.Second
	writeTimeout = time.Minute
	maxHeader    = 16 << 10
	maxAtOnce    = 16 // requests that are answered
)

// Serve answers until ctx ends.
func (s *Server) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler: s.Handler(), ReadTimeout: readTimeout, ReadHeaderTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: writeTimeout, MaxHeaderBytes: maxHeader,
	}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Handler answers the requests of the page.
func (s *Server) Handler() http.Handler {
	turns := make(chan struct{}, maxAtOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", page.Policy(true)+"; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if refused := s.refuse(r); refused != 0 {
			http.Error(w, http.StatusText(refused), refused)
			return
		}
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
		default:
			http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
			return
		}
		switch r.URL.Path {
		case "/":
			s.page(w)
		case "/data":
			s.answer(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// refuse returns the status of a request that is not answered, 0 for others.
func (s *Server) refuse(r *http.Request) int {
	own := s.names()
	switch {
	case !slices.Contains(own, r.Host): // a name that an attacker's DNS leads here
		return http.StatusMisdirectedRequest
	case subtle.ConstantTimeCompare([]byte(r.URL.Query().Get("token")), []byte(s.token)) != 1:
		return http.StatusForbidden
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return http.StatusMethodNotAllowed
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return http.StatusForbidden
	}
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
		return 0
	default:
		if r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" {
			return 0 // from the file that redirects
		}
		return http.StatusForbidden
	}
}

// names are the Hosts that mean this server.
func (s *Server) names() []string {
	address := s.listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	return []string{address, "localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port}
}

func (s *Server) page(w http.ResponseWriter) {
	var doc bytes.Buffer
	if err := page.Write(&doc, "sx report: live", true, struct {
		Runs []int `json:"runs"`
		Live bool  `json:"live"`
	}{[]int{}, true}); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(doc.Bytes())
}

// answer sends the data, unless the page has it.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	stamp, err := s.stamp()
	if err == nil {
		tag := `"` + strings.Map(quotable, stamp) + `"`
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		var data []byte
		if data, err = s.data(r.Context()); err == nil {
			w.Header().Set("Content-Type", "application/json")
			w.Write(data)
			return
		}
	}
	w.Header().Del("ETag")
	http.Error(w, "the run cannot be read", http.StatusInternalServerError)
}

// quotable keeps what an ETag may hold.
func quotable(r rune) rune {
	if r <= ' ' || r == '"' || r >= 0x7f {
		return '_'
	}
	return r
}
