package text

import (
	"strconv"
	"time"

	"github.com/docker/go-units"
)

// Bytes returns n in the largest binary unit it fills, with up to four digits: "0B", "1.5KiB", "8GiB", as stagex.toml
// takes it.
func Bytes(n int64) string {
	return units.BytesSize(float64(n))
}

// Duration returns d as people read a clock: tenths below ten seconds ("0.4s", "9.9s"), whole seconds above ("1m32s",
// "2h0m5s"), "0s" for what rounds to nothing or is negative.
func Duration(d time.Duration) string {
	short := max(d, 0).Round(100 * time.Millisecond)
	if short < 10*time.Second {
		return strconv.FormatFloat(short.Seconds(), 'f', -1, 64) + "s"
	}
	return d.Round(time.Second).String()
}
