package gitpack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// Limits of what a server may send, in bytes.
const (
	maxAnswer = 1 << 20 // what it can, or what a tag is
	// MaxPack bounds the objects of one commit, compressed. StageX's releases have 1 to 3 MiB.
	MaxPack = 64 << 20
)

// maxTime bounds one exchange, however steadily the server sends.
const maxTime = 20 * time.Minute

// service is the one of git's services that is asked.
const service = "git-upload-pack"

// Options of [Open].
type Options struct {
	UserAgent string
	Limits    transfer.Limits
	Base      http.RoundTripper // nil: a new transport, with proxies from the environment
}

// Remote is a repository on a server.
type Remote struct {
	http *transfer.Client
	base *url.URL // of the repository, where the server has it
}

// CheckURL returns an error unless text is the URL of a repository that may be asked:
// https, or http on this machine, without credentials and query.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("not a URL such as https://codeberg.org/stagex/stagex.git")
	case strings.Trim(u.Path, "/") == "":
		return errors.New("the URL of a server, which names no repository")
	case u.User != nil:
		return errors.New("a URL with credentials: only public repositories are read")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("a URL with ? or #")
	case u.Scheme == "https" || u.Scheme == "http" && local(u.Hostname()):
		return nil
	}
	return fmt.Errorf("the scheme %q: only https is read, or http on this machine", u.Scheme)
}

// local reports whether host is an address of this machine by its own name.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Open asks the server of a repository whether it can answer. The caller has checked text
// by CheckURL.
func Open(ctx context.Context, text string, o Options) (*Remote, error) {
	base, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil {
		return nil, err
	}
	limits := o.Limits.WithDefaults()
	if o.Base == nil {
		o.Base = transfer.NewTransport(limits, 1, nil)
	}
	r := &Remote{base: base, http: &transfer.Client{
		HTTP: &http.Client{
			Transport:     &transfer.Transport{Base: o.Base, Limits: limits, UserAgent: o.UserAgent},
			CheckRedirect: stayPrivate,
		},
		Retries: 2, Backoff: transfer.Exponential, Now: limits.Now,
	}}
	return r, r.discover(ctx)
}

// stayPrivate refuses redirects from https to http, from this machine to http elsewhere, and
// others that transfer refuses.
func stayPrivate(req *http.Request, via []*http.Request) error {
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return &transfer.RedirectError{Reason: "from https to " + req.URL.Scheme}
	}
	if req.URL.Scheme == "http" && !local(req.URL.Hostname()) {
		return &transfer.RedirectError{Reason: "to http on another machine"}
	}
	return transfer.CheckRedirect(req, via)
}

// request is what exchange sends, and wants back.
type request struct {
	path  string // below the repository
	body  string // of a POST; "" is a GET
	kind  string // the answer's media type
	limit int64  // of the answer, in bytes
}

// exchange sends a request, and lets read have the answer.
func (r *Remote) exchange(ctx context.Context, what request, read func(*reader) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fmt.Errorf("it took longer than %s", maxTime))
	defer cancel()
	method, content := http.MethodGet, io.Reader(nil)
	if what.body != "" {
		method, content = http.MethodPost, strings.NewReader(what.body)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base.String()+what.path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Git-Protocol", "version=2")
	if what.body != "" {
		req.Header.Set("Content-Type", "application/x-"+service+"-request")
		req.Header.Set("Accept", what.kind)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); got != what.kind {
		return transfer.Answerf("the answer is of the type %.60q, want %q: this is no git server, or an old one that knows only files", got, what.kind)
	}
	r.follow(resp, what.path)
	in := &limited{r: resp.Body, left: what.limit, limit: what.limit}
	return read(&reader{in: bufio.NewReaderSize(in, maxLine)})
}

// follow sends what comes next to where the first request was redirected to.
func (r *Remote) follow(resp *http.Response, path string) {
	if at := resp.Request.URL.String(); strings.HasSuffix(at, path) {
		if u, err := url.Parse(strings.TrimSuffix(at, path)); err == nil {
			r.base = u
		}
	}
}

// limited fails where an answer is longer than it may be.
type limited struct {
	r           io.Reader
	left, limit int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, &transfer.SizeError{What: "answer", Size: l.limit - l.left, Max: l.limit}
	}
	return n, err
}

// discover checks that the server speaks version 2, with SHA-1 as the hash.
func (r *Remote) discover(ctx context.Context) error {
	return r.exchange(ctx, request{"/info/refs?service=" + service, "", "application/x-" + service + "-advertisement", maxAnswer}, func(in *reader) error {
		first, ok, err := in.text()
		if err == nil && ok && first == "# service="+service { // gitprotocol-http(5); in version 2 servers may leave it out
			if _, _, err = in.text(); err == nil {
				first, ok, err = in.text()
			}
		}
		if err != nil {
			return err
		}
		if !ok || first != "version 2" {
			return transfer.Answerf("the server does not speak version 2 of git's protocol, as git has since 2.18")
		}
		return checkCapabilities(in)
	})
}

func checkCapabilities(in *reader) error {
	var fetch, refs bool
	for {
		c, ok, err := in.text()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		name, value, _ := strings.Cut(c, "=")
		switch name {
		case "fetch":
			fetch = slices.Contains(strings.Fields(value), "shallow")
		case "ls-refs":
			refs = true
		case "object-format":
			if value != "sha1" {
				return transfer.Answerf("the repository hashes with %.20q, which cannot be read here", value)
			}
		}
	}
	if !fetch || !refs {
		return transfer.Answerf("the server cannot list references, or send one commit without its history")
	}
	return nil
}

// Tag is what a server says that a tag is.
type Tag struct {
	Object string // 40 hexadecimal digits: the tag's object, or the commit if it has none
	Commit string // the commit that it leads to
}

// NoTagError means that the repository has no tag of that name.
type NoTagError struct{ Name string }

func (e *NoTagError) Error() string { return fmt.Sprintf("the repository has no tag %.200q", e.Name) }

// IsHash reports whether text is the hash of an object: 40 hexadecimal digits, in lower case.
func IsHash(text string) bool {
	return len(text) == 40 && strings.Trim(text, "0123456789abcdef") == ""
}

// Tag asks what a tag is at this moment. The error is a *NoTagError if there is none.
func (r *Remote) Tag(ctx context.Context, name string) (t Tag, err error) {
	ref := "refs/tags/" + name
	command := message("ls-refs", capabilities, []string{"peel", "ref-prefix " + ref})
	err = r.exchange(ctx, request{"/" + service, command, "application/x-" + service + "-result", maxAnswer}, func(in *reader) error {
		for {
			said, ok, err := in.text()
			if err != nil || !ok {
				return err
			}
			f := strings.Fields(said) // "<hash> <name> [peeled:<hash>]"
			if len(f) < 2 || f[1] != ref {
				continue // of tags whose names begin so
			}
			t = Tag{f[0], f[0]}
			for _, more := range f[2:] {
				if peeled, ok := strings.CutPrefix(more, "peeled:"); ok {
					t.Commit = peeled
				}
			}
		}
	})
	switch {
	case err != nil:
		return t, err
	case t.Object == "":
		return t, &NoTagError{name}
	case !IsHash(t.Object) || !IsHash(t.Commit):
		return t, transfer.Answerf("the server gives no hash for the tag %.200q", name)
	}
	return t, nil
}

// capabilities go with each request.
var capabilities = []string{"agent=sx", "object-format=sha1"}

// Pack writes to w a pack of an object, a commit or the tag of one, with all that the
// commit's tree has and without its history. Deltas in it name their bases by offset.
func (r *Remote) Pack(ctx context.Context, object string, w io.Writer) error {
	command := message("fetch", capabilities, []string{"want " + object, "deepen 1", "ofs-delta", "no-progress", "done"})
	return r.exchange(ctx, request{"/" + service, command, "application/x-" + service + "-result", MaxPack + MaxPack/64}, func(in *reader) error {
		for {
			section, ok, err := in.text()
			switch {
			case err != nil:
				return err
			case !ok:
				return transfer.Answerf("the server sends no pack")
			case section == "packfile":
				return unwrap(in, w)
			}
			for ok {
				if _, ok, err = in.text(); err != nil {
					return err
				}
			}
		}
	})
}

// The channels that a pack's bytes come in.
const (
	channelData     = 1
	channelProgress = 2
	channelError    = 3
)

// unwrap writes the bytes of a pack to w.
func unwrap(in *reader, w io.Writer) error {
	for {
		l, err := in.next()
		if err != nil {
			return err
		}
		if l.kind == flush {
			return nil
		}
		if l.kind == delim || len(l.data) == 0 {
			return transfer.Answerf("a pack with an empty part")
		}
		switch l.data[0] {
		case channelData:
			if _, err := w.Write(l.data[1:]); err != nil {
				return &transfer.LocalError{Err: err}
			}
		case channelProgress:
		case channelError:
			return &RefusedError{strings.TrimSpace(string(l.data[1:]))}
		default:
			return transfer.Answerf("a pack with a part of the kind %d", l.data[0])
		}
	}
}
