package kubetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

// reconcile is the controller: it makes the pods that StatefulSets want, and removes the
// others. s.mu is held.
func (s *Server) reconcile() {
	for key, o := range s.objects {
		if set, ok := strings.CutPrefix(key, "statefulsets.apps/"); ok {
			s.reconcileSet(set, o)
		}
	}
	for key, o := range s.objects {
		owners, _ := at(o, "metadata")["ownerReferences"].([]any)
		if strings.HasPrefix(key, "pods/") && len(owners) > 0 && !s.has(owners[0].(Object)["uid"]) {
			s.remove(key)
		}
	}
}

func (s *Server) has(uid any) bool {
	for _, o := range s.objects {
		if at(o, "metadata")["uid"] == uid {
			return true
		}
	}
	return false
}

func (s *Server) remove(key string) {
	delete(s.objects, key)
	s.endPrograms(key[strings.LastIndexByte(key, '/')+1:])
}

func (s *Server) reconcileSet(place string, set Object) {
	namespace, name, _ := strings.Cut(place, "/")
	replicas := 1
	if n, ok := at(set, "spec")["replicas"].(float64); ok {
		replicas = int(n)
	}
	hash := fmt.Sprint(at(at(set, "metadata"), "annotations")["sx.stagex.tools/spec"])
	at(set, "status")["updateRevision"] = hash
	for i := range replicas {
		pod := fmt.Sprintf("%s-%d", name, i)
		key := "pods/" + namespace + "/" + pod
		if s.objects[key] == nil {
			s.put(key, s.newPod(pod, namespace, i, hash, set), nil)
		}
	}
	for key := range s.objects {
		ordinal, ok := strings.CutPrefix(key, "pods/"+namespace+"/"+name+"-")
		if n, err := strconv.Atoi(ordinal); ok && err == nil && n >= replicas {
			s.remove(key)
		}
	}
}

func (s *Server) newPod(pod, namespace string, index int, hash string, set Object) Object {
	labels := Object{"apps.kubernetes.io/pod-index": strconv.Itoa(index), "controller-revision-hash": hash}
	for key, value := range at(at(at(at(set, "spec"), "template"), "metadata"), "labels") {
		labels[key] = value
	}
	status := Ready()
	if s.Status != nil {
		status = s.Status(pod)
	}
	return Object{
		"kind": "Pod",
		"metadata": Object{"name": pod, "namespace": namespace, "labels": labels,
			"ownerReferences": []any{Object{"kind": "StatefulSet", "controller": true, "uid": at(set, "metadata")["uid"], "name": at(set, "metadata")["name"]}}},
		"spec":   Object{"nodeName": "n1", "containers": []any{Object{"name": "buildkitd"}}},
		"status": status,
	}
}

// Ready returns the status of a pod that is ready.
func Ready() Object {
	return Object{"phase": "Running", "conditions": []any{Object{"type": "Ready", "status": "True"}}}
}

// AddPod adds a pod that no controller owns.
func (s *Server) AddPod(namespace, name string, status Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put("pods/"+namespace+"/"+name, Object{
		"kind": "Pod", "metadata": Object{"name": name, "namespace": namespace}, "status": status,
		"spec": Object{"nodeName": "n1", "containers": []any{Object{"name": "buildkitd"}}},
	}, nil)
}

// Put adds an object, or replaces it, by a key such as "events/builds/e".
func (s *Server) Put(key string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, o, s.objects[key])
}

// Edit calls change with an object, such as "pods/builds/sx-0"; nil if there is none.
func (s *Server) Edit(key string, change func(Object)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.objects[key])
}

// Kill removes a pod at once, as kubectl delete --force, and lets the controller make
// another.
func (s *Server) Kill(namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove("pods/" + namespace + "/" + name)
	s.reconcile()
}

// Pods returns the names of the pods.
func (s *Server) Pods() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.objects {
		if strings.HasPrefix(key, "pods/") {
			names = append(names, key[strings.LastIndexByte(key, '/')+1:])
		}
	}
	return names
}

// endPrograms ends the programs of a pod. s.mu is held.
func (s *Server) endPrograms(pod string) {
	for _, end := range s.closing[pod] {
		end()
	}
	delete(s.closing, pod)
}

// exec serves a program's standard streams over v5.channel.k8s.io.
func (s *Server) exec(w http.ResponseWriter, r *http.Request, c call) {
	s.mu.Lock()
	known := s.objects["pods/"+c.namespace+"/"+c.name] != nil
	s.mu.Unlock()
	if !known {
		refuse(w, 404, "pods %q not found", c.name)
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{"v5.channel.k8s.io"}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	args := s.Command(c.name, r.URL.Query()["command"])
	cmd := exec.CommandContext(r.Context(), args[0], args[1:]...)
	stdin, _ := cmd.StdinPipe()
	out := &channels{ws: ws}
	cmd.Stdout, cmd.Stderr = channel{out, 1}, channel{out, 2}
	if err := cmd.Start(); err != nil {
		out.write(3, []byte(fmt.Sprintf(`{"status":"Failure","message":%q}`, err)))
		return
	}
	s.mu.Lock()
	s.closing[c.name] = append(s.closing[c.name], func() { cmd.Process.Kill() })
	if s.objects["pods/"+c.namespace+"/"+c.name] == nil { // it was killed meanwhile
		s.endPrograms(c.name)
	}
	s.mu.Unlock()
	go feed(ws, stdin) // ends with the WebSocket
	end := Object{"status": "Success"}
	if err := cmd.Wait(); err != nil {
		end = Object{"status": "Failure", "message": "command terminated with non-zero exit code: " + err.Error()}
	}
	data, _ := json.Marshal(end)
	out.write(3, data)
}

// feed writes what arrives for a program to its input, and closes that at its end.
func feed(ws *websocket.Conn, stdin io.WriteCloser) {
	defer stdin.Close()
	for {
		_, m, err := ws.ReadMessage()
		if err != nil || len(m) == 2 && m[0] == 255 {
			return
		}
		if len(m) > 1 && m[0] == 0 {
			stdin.Write(m[1:])
		}
	}
}

// channels writes messages, one at a time.
type channels struct {
	mu sync.Mutex
	ws *websocket.Conn
}

func (c *channels) write(n byte, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ws.WriteMessage(websocket.BinaryMessage, append([]byte{n}, data...))
}

type channel struct {
	to *channels
	n  byte
}

func (c channel) Write(p []byte) (int, error) {
	if err := c.to.write(c.n, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
