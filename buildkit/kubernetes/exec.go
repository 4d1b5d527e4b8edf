package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	gorilla "github.com/gorilla/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"

	"codeberg.org/stagex/sx/buildkit"
)

// execProtocol is Kubernetes' protocol of a program's streams over WebSocket: each
// message begins with the number of its channel. Servers know it since 1.30.
const execProtocol = "v5.channel.k8s.io"

// Channels of execProtocol.
const (
	toProgram   = 0
	fromProgram = 1
	itsErrors   = 2
	itsEnd      = 3
	noMore      = 255 // followed by the number of the channel that ends
)

const (
	// pingEvery is shorter than what proxies give a silent connection: often a minute.
	pingEvery = 20 * time.Second
	// programEnd is how long the program may take to end by itself.
	programEnd = 3 * time.Second
	// maxMessage is the most that is sent in one message.
	maxMessage = 32 << 10
)

// dialStdio runs `buildctl dial-stdio` in a container and returns its standard streams.
func (c *cluster) dialStdio(ctx context.Context, namespace, pod, in string) (net.Conn, error) {
	r := request{verb: "get", resource: "pods/exec", namespace: namespace, name: pod, query: url.Values{
		"command": {"buildctl", "dial-stdio"}, "container": {in}, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"},
	}}
	ctx, cancel := context.WithTimeoutCause(ctx, buildkit.AnswerTime, os.ErrDeadlineExceeded)
	defer cancel()
	s, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	rt, holder, err := websocket.RoundTripperFor(s.config)
	if err != nil {
		return nil, &configError{err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url(s.base).String(), nil)
	if err != nil {
		return nil, err
	}
	ws, err := websocket.Negotiate(rt, holder, req, execProtocol)
	if err != nil {
		return nil, upgradeError(r, err)
	}
	return newStream(ws), nil
}

// upgradeError returns the API server's refusal of a WebSocket, if it is one.
func upgradeError(r request, err error) error {
	var upgrade *httpstream.UpgradeFailureError
	if !errors.As(err, &upgrade) {
		return err
	}
	var status *apierrors.StatusError
	if errors.As(upgrade.Cause, &status) && status.ErrStatus.Code != 0 {
		return &apiError{r, status.ErrStatus}
	}
	return fmt.Errorf("no WebSocket of %s: %w", execProtocol, upgrade.Cause)
}

// stream is a net.Conn made of a program's standard streams. The bytes go through a pipe,
// which has the deadlines that a WebSocket has not.
type stream struct {
	net.Conn // the near end of the pipe
	ws       *gorilla.Conn
	ended    chan struct{} // closed when the far end is gone

	mu  sync.Mutex
	why error // why it ended
}

func newStream(ws *gorilla.Conn) *stream {
	near, far := net.Pipe()
	s := &stream{Conn: near, ws: ws, ended: make(chan struct{})}
	ws.SetPongHandler(func(string) error { return s.alive() })
	s.alive()
	// Both end when the WebSocket does, which ping sees to.
	go func() {
		s.end(s.receive(far))
		far.Close()
		close(s.ended)
	}()
	go s.send(far)
	go s.ping()
	return s
}

// alive records a sign of life: without one for as long as sx gives any engine, reading
// fails.
func (s *stream) alive() error { return s.ws.SetReadDeadline(time.Now().Add(buildkit.Silence)) }

// receive writes what the program writes into the pipe, until the program ends.
func (s *stream) receive(far net.Conn) error {
	var errs tail
	for {
		_, message, err := s.ws.ReadMessage()
		if err != nil {
			return err
		}
		s.alive()
		if len(message) == 0 {
			continue
		}
		switch message[0] {
		case fromProgram:
			far.Write(message[1:]) // an error: the near end was closed, and the end is awaited
		case itsErrors:
			errs.Write(message[1:])
		case itsEnd:
			return programEnded(message[1:], errs.lastLine())
		}
	}
}

// exitError reports that the program in the container ended.
type exitError struct {
	said   string // the last line that it wrote to stderr
	status string // the API server's message
}

func (e *exitError) Error() string {
	if e.said != "" {
		return e.said
	}
	return e.status
}

func programEnded(status []byte, said string) error {
	var s metav1.Status
	if err := json.Unmarshal(status, &s); err != nil {
		return fmt.Errorf("reading the end of the program: %w", err)
	}
	if s.Status == metav1.StatusSuccess && said == "" {
		return io.EOF
	}
	return &exitError{said: said, status: s.Message}
}

// send sends what is written into the pipe, and the end when the near end is closed.
func (s *stream) send(far net.Conn) {
	buf := make([]byte, 1+maxMessage)
	for {
		n, err := far.Read(buf[1:])
		if n > 0 {
			s.ws.SetWriteDeadline(time.Now().Add(buildkit.Silence))
			buf[0] = toProgram
			if werr := s.ws.WriteMessage(gorilla.BinaryMessage, buf[:1+n]); werr != nil {
				s.end(werr)
				s.ws.Close()
				return
			}
		}
		if err != nil {
			s.ws.SetWriteDeadline(time.Now().Add(programEnd))
			s.ws.WriteMessage(gorilla.BinaryMessage, []byte{noMore, toProgram})
			return
		}
	}
}

func (s *stream) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
			s.ws.WriteControl(gorilla.PingMessage, nil, time.Now().Add(pingEvery))
		}
	}
}

func (s *stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil {
		s.why = err
	}
}

// Read implements net.Conn. After the end, the error is why.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	return n, s.explain(err)
}

// Write implements net.Conn. After the end, the error is why.
func (s *stream) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	return n, s.explain(err)
}

func (s *stream) explain(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	select {
	case <-s.ended:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.why
	default:
		return err
	}
}

// Close ends the program's input, so that it ends by itself, then the connection.
func (s *stream) Close() error {
	err := s.Conn.Close()
	select {
	case <-s.ended:
	case <-time.After(programEnd):
	}
	s.ws.Close()
	return err
}

// byHand returns how to try the connection with kubectl.
func byHand(context, namespace, pod string) string {
	var b strings.Builder
	b.WriteString("kubectl")
	if context != "" {
		b.WriteString(" --context=" + context)
	}
	return b.String() + " --namespace=" + namespace + " exec " + pod + " -- buildctl debug workers"
}
