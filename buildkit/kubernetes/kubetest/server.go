// Package kubetest is an API server for tests: HTTP, WebSocket and the objects that sx
// uses, with a controller that makes the pods of a StatefulSet. It checks no more of an
// object than sx relies on; scripts/kubernetes starts a real cluster.
package kubetest

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Object is an object of the API, as JSON.
type Object = map[string]any

// Server is an API server on loopback. Its fields are set before the first request, or
// by way of Do.
type Server struct {
	*httptest.Server
	// Command is what the exec of a program in a pod runs on this machine instead.
	Command func(pod string, command []string) []string
	// Token is the only one that is accepted; "": any.
	Token string
	// Denied lists the rights that the account lacks, as "get pods/exec".
	Denied map[string]bool
	// Status returns the status of a new pod; nil: it is ready.
	Status func(pod string) Object

	mu       sync.Mutex
	objects  map[string]Object // by resource/namespace/name
	revision int
	requests []string
	closing  map[string][]func() // by pod: what ends its programs
}

// Start starts a server with one namespace, which ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{objects: map[string]Object{}, closing: map[string][]func(){}, Denied: map[string]bool{}}
	s.Server = httptest.NewUnstartedServer(s)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(func() {
		s.Do(func() {
			for name := range s.closing {
				s.endPrograms(name)
			}
		})
		s.Close()
	})
	return s
}

// Kubeconfig writes a kubeconfig with a context "test" for the server and returns its
// path.
func (s *Server) Kubeconfig(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: test
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: test, context: {cluster: c, user: u, namespace: builds}}]
`, s.URL, base64.StdEncoding.EncodeToString(ca), s.Token)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Do calls f while no request is served.
func (s *Server) Do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Requests returns the requests so far, as "get pods builds/p".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// call is a request that was parsed.
type call struct {
	verb, resource, namespace, name, sub string
}

func (c call) key() string   { return c.resource + "/" + c.namespace + "/" + c.name }
func (c call) right() string { return c.verb + " " + c.full() }

func (c call) full() string {
	if c.sub != "" {
		return c.resource + "/" + c.sub
	}
	return c.resource
}

var groups = map[string]string{"apps": ".apps", "policy": ".policy"}

func parse(r *http.Request) (c call, ok bool) {
	p := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group := ""
	switch {
	case len(p) >= 5 && p[0] == "api":
		p = p[2:]
	case len(p) >= 6 && p[0] == "apis":
		group, p = groups[p[1]], p[3:]
	default:
		return c, false
	}
	c.namespace, c.resource = p[1], p[2]+group
	if len(p) > 3 {
		c.name = p[3]
	}
	if len(p) > 4 {
		c.sub = p[4]
	}
	c.verb = map[string]string{"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}[r.Method]
	if c.verb == "get" && c.name == "" {
		c.verb = "list"
	}
	return c, true
}

func refuse(w http.ResponseWriter, code int, format string, args ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(Object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": fmt.Sprintf(format, args...), "code": code})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := parse(r)
	if !ok {
		refuse(w, 404, "the server could not find the requested resource")
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, c.right()+" "+c.namespace+"/"+c.name)
	denied := s.Denied[c.right()]
	s.mu.Unlock()
	switch {
	case s.Token != "" && r.Header.Get("Authorization") != "Bearer "+s.Token:
		refuse(w, 401, "Unauthorized")
	case denied:
		refuse(w, 403, `%s is forbidden: User "tester" cannot %s resource %q in API group "" in the namespace %q`, c.full(), c.verb, c.full(), c.namespace)
	case c.sub == "exec":
		s.exec(w, r, c)
	case c.sub == "log":
		fmt.Fprintln(w, "log of "+c.name)
	default:
		s.serveObject(w, r, c)
	}
}

func (s *Server) serveObject(w http.ResponseWriter, r *http.Request, c call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body Object
	if c.verb == "create" || c.verb == "update" {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			refuse(w, 400, "%v", err)
			return
		}
		c.name = at(body, "metadata")["name"].(string)
	}
	old := s.objects[c.key()]
	switch {
	case c.verb == "list":
		answer(w, Object{"kind": "List", "items": s.list(c, r.URL.Query().Get("labelSelector"))})
		return
	case c.verb == "create" && old != nil:
		refuse(w, 409, "%s %q already exists", c.resource, c.name)
		return
	case c.verb != "create" && old == nil:
		refuse(w, 404, "%s %q not found", c.resource, c.name)
		return
	case c.verb == "update" && at(body, "metadata")["resourceVersion"] != at(old, "metadata")["resourceVersion"]:
		refuse(w, 409, "the object has been modified")
		return
	case c.verb == "get":
		answer(w, old)
		return
	case c.verb == "delete":
		delete(s.objects, c.key())
		body = old
	default:
		s.put(c.key(), body, old)
	}
	s.reconcile()
	answer(w, body)
}

func answer(w http.ResponseWriter, o Object) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(o)
}

// at returns the object in a field, and makes it first if it is missing.
func at(o Object, field string) Object {
	if _, ok := o[field].(Object); !ok {
		o[field] = Object{}
	}
	return o[field].(Object)
}

func (s *Server) put(key string, o, old Object) {
	s.revision++
	meta := at(o, "metadata")
	meta["resourceVersion"] = fmt.Sprint(s.revision)
	meta["uid"] = fmt.Sprintf("uid-%d", s.revision)
	if old != nil {
		meta["uid"] = at(old, "metadata")["uid"]
	}
	s.objects[key] = o
}

func (s *Server) list(c call, selector string) []any {
	out := []any{}
	for key, o := range s.objects {
		if strings.HasPrefix(key, c.resource+"/"+c.namespace+"/") && selected(o, selector) {
			out = append(out, o)
		}
	}
	return out
}

func selected(o Object, selector string) bool {
	labels := at(at(o, "metadata"), "labels")
	for pair := range strings.SplitSeq(selector, ",") {
		if key, value, ok := strings.Cut(pair, "="); ok && labels[key] != value {
			return false
		}
	}
	return true
}
