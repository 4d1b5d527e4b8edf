package fetch

import "time"

// meterSpan is the time over which a Meter averages, in whole seconds.
const meterSpan = 10

// Meter computes the rate of the last ten seconds and the time left at that rate. The
// caller gives the time. It is not safe for concurrent use. The zero value is usable.
type Meter struct {
	start   time.Time
	total   int64
	buckets [meterSpan + 1]bucket
}

// bucket counts the bytes of one second since the start.
type bucket struct{ second, bytes int64 }

// Add counts n bytes received at now. A negative n (a transfer that starts again) is
// ignored.
func (m *Meter) Add(now time.Time, n int64) {
	if m.start.IsZero() {
		m.start = now
	}
	if n <= 0 {
		return
	}
	m.total += n
	second := m.second(now)
	b := &m.buckets[second%int64(len(m.buckets))]
	if b.second != second {
		*b = bucket{second: second}
	}
	b.bytes += n
}

// Total returns the number of bytes counted.
func (m *Meter) Total() int64 { return m.total }

// Rate returns bytes per second, over the last ten seconds or since the first Add.
func (m *Meter) Rate(now time.Time) float64 {
	if m.start.IsZero() {
		return 0
	}
	since, sum := now.Sub(m.start), int64(0)
	oldest := m.second(now) - meterSpan
	for _, b := range m.buckets {
		if b.second >= oldest {
			sum += b.bytes
		}
	}
	span := since - time.Duration(max(oldest, 0))*time.Second
	// The first instant is too short for a rate.
	return float64(sum) / max(span.Seconds(), 0.5)
}

// Left returns how long the remaining bytes take at the present rate; ok is false if the
// rate is too low.
func (m *Meter) Left(now time.Time, remaining int64) (left time.Duration, ok bool) {
	if remaining <= 0 {
		return 0, remaining == 0
	}
	seconds := float64(remaining) / m.Rate(now)
	if !(seconds < (1000 * time.Hour).Seconds()) {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second), true
}

// second returns the seconds since the start; 0 if the clock was set back.
func (m *Meter) second(now time.Time) int64 {
	return max(int64(now.Sub(m.start)/time.Second), 0)
}
