package events

import (
	"encoding/json"
	"testing"
	"time"
)

// 2.563 has no digits behind the milliseconds that floating point made up.
func TestLengths(t *testing.T) {
	for d, want := range map[time.Duration]string{
		2563 * time.Millisecond: "2.563", 1243*time.Millisecond + 400*time.Microsecond: "1.243",
		0: "0", -time.Second: "-1", 42 * time.Hour: "151200",
	} {
		if got, err := json.Marshal(Length(d)); err != nil || string(got) != want {
			t.Errorf("%v is %s, %v, want %s", d, got, err, want)
		}
	}
}
