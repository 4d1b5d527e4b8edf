package release

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// Version is a release: YYYY.MM.N (upstream's src/gen-version.sh).
type Version struct{ Year, Month, Number int }

var versionForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9]{4})\.(0[1-9]|1[0-2])\.(0|[1-9][0-9]{0,3})$`) })

// ParseVersion reads "2026.03.0".
func ParseVersion(text string) (Version, error) {
	m := versionForm().FindStringSubmatch(text)
	if m == nil {
		return Version{}, fmt.Errorf("want a release such as 2026.03.0, not %q", text)
	}
	var v Version
	for i, part := range []*int{&v.Year, &v.Month, &v.Number} {
		*part, _ = strconv.Atoi(m[i+1]) // the form has few digits
	}
	return v, nil
}

func (v Version) String() string { return fmt.Sprintf("%04d.%02d.%d", v.Year, v.Month, v.Number) }

// Tag is the tag of an image that belongs to the release for ever.
func (v Version) Tag() string { return "sx" + v.String() }

// Compare is negative if v is older than other.
func (v Version) Compare(other Version) int {
	return cmp.Or(cmp.Compare(v.Year, other.Year), cmp.Compare(v.Month, other.Month), cmp.Compare(v.Number, other.Number))
}

// Next returns the version after those of tags at a time, in UTC: the first of its month,
// or the one after the latest of that month. latest is the latest of tags, zero if there
// is none. Tags that are no versions do not count.
func Next(tags []string, now time.Time) (next, latest Version) {
	for _, tag := range tags {
		if v, err := ParseVersion(tag); err == nil && v.Compare(latest) > 0 {
			latest = v
		}
	}
	now = now.UTC()
	next = Version{Year: now.Year(), Month: int(now.Month())}
	if latest.Compare(next) >= 0 { // also if a clock was ahead: a release never goes back
		next = Version{latest.Year, latest.Month, latest.Number + 1}
	}
	return next, latest
}
