package link

import (
	"net"
	"testing"
	"time"
)

// A machine that acknowledges nothing was cut off. One that acknowledges late, or to which
// nothing was sent, was not.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		what  string
		state func(time.Duration) (bool, time.Duration)
		want  bool
	}{
		{"nothing was sent", func(began time.Duration) (bool, time.Duration) { return false, began }, false},
		{"acknowledged late", func(began time.Duration) (bool, time.Duration) { return true, began % (50 * time.Millisecond) }, false},
		{"sent after a long rest", func(began time.Duration) (bool, time.Duration) {
			return began%(10*time.Millisecond) < 5*time.Millisecond, began % (50 * time.Millisecond)
		}, false},
		{"cut", func(began time.Duration) (bool, time.Duration) { return true, time.Hour + began }, true},
	} {
		began, asked, ended := time.Now(), 0, make(chan struct{})
		got := cut(t.Context(), ended, time.Millisecond, 100*time.Millisecond, func() (bool, time.Duration) {
			if asked++; asked == 1000 {
				close(ended)
			}
			return c.state(time.Since(began))
		})
		if got != c.want {
			t.Errorf("%s: cut off is %v", c.what, got)
		}
	}
}

// The kernel of a machine whose engine does not read acknowledges all the same.
func TestFrozenEngine(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	c, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var l Link
	l.Set(c)
	c.SetWriteDeadline(time.Now().Add(time.Second))
	for sent := 0; err == nil; {
		n, werr := c.Write(make([]byte, 1<<20))
		if sent, err = sent+n, werr; sent > 1<<30 {
			t.Fatal("the window does not close")
		}
	}
	if waits, last := l.state(); waits {
		t.Errorf("with a closed window the kernel waits for an acknowledgement, the last came %s ago", last)
	}
}
