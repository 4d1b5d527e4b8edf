package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"codeberg.org/stagex/sx/buildkit"
)

// cluster is an API server, and the account that the user has there. It is safe for
// concurrent use.
type cluster struct {
	context string // as given; "": the current one
	load    func() (loaded, error)

	mu      sync.Mutex // one asks for credentials at a time
	session *session   // nil until the first request, and after its credentials ended
	skew    atomic.Int64
}

// loaded is what the kubeconfig, or the pod that sx runs in, says.
type loaded struct {
	config    *rest.Config
	context   string // its name; "" in a cluster
	namespace string // the default one
}

// session is how requests are made while the credentials are valid.
type session struct {
	config *rest.Config
	base   *url.URL
	client *http.Client
	until  time.Time // zero: no end is known
}

// newCluster returns the cluster of a context. The kubeconfig is read when it is needed:
// KUBECONFIG and ~/.kube/config, as kubectl reads them, else the pod's service account.
func newCluster(context string) *cluster {
	return &cluster{context: context, load: sync.OnceValues(func() (loaded, error) { return loadConfig(context) })}
}

func loadConfig(context string) (loaded, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.WarnIfAllMissing = false
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	deferred := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := deferred.ClientConfig()
	if err != nil {
		if clientcmd.IsEmptyConfig(err) {
			err = errors.New("there is no kubeconfig, and this is not a pod of a cluster")
		}
		return loaded{}, &configError{err}
	}
	config.UserAgent = "sx"
	config.Timeout = 0 // each request has its own limit
	l := loaded{config: config, context: context}
	if raw, err := deferred.RawConfig(); err == nil && context == "" {
		l.context = raw.CurrentContext
	}
	if l.namespace, _, err = deferred.Namespace(); err != nil {
		return loaded{}, &configError{err}
	}
	return l, nil
}

// configError reports that there is no usable kubeconfig.
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }

// name returns the context's name; "" if there is none, or it cannot be read.
func (c *cluster) name() string {
	l, _ := c.load()
	return l.context
}

// open returns the session, and a new one if its credentials have ended.
func (c *cluster) open(ctx context.Context) (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.session; s != nil && (s.until.IsZero() || time.Now().Before(s.until)) {
		return s, nil
	}
	l, err := c.load()
	if err != nil {
		return nil, err
	}
	s := &session{config: rest.CopyConfig(l.config)}
	if s.config.ExecProvider != nil {
		if s.until, err = askPlugin(ctx, s.config); err != nil {
			return nil, err
		}
	}
	if s.client, err = rest.HTTPClientFor(s.config); err != nil {
		return nil, &configError{err}
	}
	if s.base, _, err = rest.DefaultServerUrlFor(s.config); err != nil {
		return nil, &configError{err}
	}
	c.session = s
	return s, nil
}

// renew forgets a session whose credentials were refused. It reports whether asking for
// others may help.
func (c *cluster) renew(was *session) bool {
	l, err := c.load()
	if err != nil || l.config.ExecProvider == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == was {
		c.session = nil
	}
	return true
}

// now returns the API server's time, so that runs on machines whose clocks differ agree.
func (c *cluster) now() time.Time { return time.Now().Add(time.Duration(c.skew.Load())) }

func (c *cluster) tellTime(h http.Header) {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		c.skew.Store(int64(time.Until(date)))
	}
}

// request is one request, in the words of RBAC.
type request struct {
	verb      string // "get", "list", "create", "update" or "delete"
	resource  string // such as "pods", "pods/exec", "statefulsets.apps"
	namespace string
	name      string
	query     url.Values
	body      any
}

var methods = map[string]string{"get": http.MethodGet, "list": http.MethodGet, "create": http.MethodPost, "update": http.MethodPut, "delete": http.MethodDelete}

// url returns the request's place below base.
func (r request) url(base *url.URL) *url.URL {
	resource, sub, _ := strings.Cut(r.resource, "/")
	resource, group, grouped := strings.Cut(resource, ".")
	path := []string{"api", "v1"}
	if grouped {
		path = []string{"apis", group, "v1"}
	}
	path = append(path, "namespaces", r.namespace, resource)
	for _, more := range []string{r.name, sub} {
		if more != "" {
			path = append(path, more)
		}
	}
	u := base.JoinPath(path...)
	u.RawQuery = r.query.Encode()
	return u
}

// apiError is the API server's refusal of a request.
type apiError struct {
	request request
	status  metav1.Status
}

func (e *apiError) Error() string { return e.status.Message }

// refused reports whether err is a refusal with one of the codes.
func refused(err error, codes ...int32) bool {
	var e *apiError
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.status.Code == c {
			return true
		}
	}
	return false
}

// maxAnswer bounds an answer. A pod's list entry takes about 10 kB.
const maxAnswer = 32 << 20

// do makes a request and decodes the answer to into, unless it is nil.
func (c *cluster) do(ctx context.Context, r request, into any) error {
	data, err := c.ask(ctx, r)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading the API server's answer to %s %s: %w", r.verb, r.resource, err)
	}
	return nil
}

// ask makes a request, a second time if the first one's credentials were refused, or if
// its connection was one that the API server had just ended.
func (c *cluster) ask(ctx context.Context, r request) ([]byte, error) {
	for try := 0; ; try++ {
		s, err := c.open(ctx)
		if err != nil {
			return nil, err
		}
		data, err := c.once(ctx, s, r)
		if try == 0 && methods[r.verb] == http.MethodGet && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			continue
		}
		if !refused(err, http.StatusUnauthorized) || try > 0 || !c.renew(s) {
			return data, err
		}
	}
}

func (c *cluster) once(ctx context.Context, s *session, r request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, buildkit.AnswerTime)
	defer cancel()
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, methods[r.verb], r.url(s.base).String(), body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	c.tellTime(resp.Header)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("the API server's answer to %s %s is larger than %d bytes", r.verb, r.resource, maxAnswer)
	}
	if resp.StatusCode >= 300 {
		return nil, &apiError{r, statusOf(resp.StatusCode, data)}
	}
	return data, nil
}

// statusOf reads a refusal. One that is not the API's, as of a proxy, has no message.
func statusOf(code int, data []byte) (s metav1.Status) {
	if json.Unmarshal(data, &s) != nil || s.Kind != "Status" {
		s = metav1.Status{Message: fmt.Sprintf("%d %s", code, http.StatusText(code))}
	}
	s.Code = int32(code)
	return s
}
