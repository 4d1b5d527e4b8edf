package fetch

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	var m Meter
	want := func(s float64, rate float64) {
		t.Helper()
		if got := m.Rate(at(s)); got < rate*0.999 || got > rate*1.001 {
			t.Errorf("rate after %v s is %v, want %v", s, got, rate)
		}
	}
	want(0, 0)
	if _, ok := m.Left(at(0), 100); ok {
		t.Error("time left at rate 0")
	}
	m.Add(at(0), 100)
	want(0, 200) // not infinite
	want(1, 100)
	for s := 1; s <= 100; s++ {
		m.Add(at(float64(s)), 100)
	}
	want(100.999, 1100/10.999)
	m.Add(at(100), -5000) // a restart takes nothing back
	if m.Total() != 10_100 {
		t.Errorf("total %d", m.Total())
	}
	if left, ok := m.Left(at(101), 1000); !ok || left != 10*time.Second {
		t.Errorf("left %v, %v, want 10s", left, ok)
	}
	if left, ok := m.Left(at(101), 0); !ok || left != 0 {
		t.Errorf("left %v, %v, want none", left, ok)
	}
	if _, ok := m.Left(at(101), -1); ok {
		t.Error("time left of an unknown size")
	}
	want(200, 0) // silence
	if _, ok := m.Left(at(200), 1); ok {
		t.Error("time left after silence")
	}
	m.Add(at(-50), 7) // the clock was set back
	m.Rate(at(-60))
}
