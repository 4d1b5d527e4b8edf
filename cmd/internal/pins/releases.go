package pins

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"codeberg.org/stagex/sx/cache/oci"
)

// A Release is a tag of StageX, with the digest of each of its outputs.
type Release struct {
	Name    string
	Digests map[string]oci.Digest // by output: "core-rust"; in 2024 "rust"
}

// Releases are sorted from the oldest.
type Releases struct {
	list []Release
	of   map[oci.Digest][]place
}

// A place is where a digest is listed.
type place struct {
	release int
	output  string
}

var releaseName = lazy(`^v?\d{4}\.\d{1,2}\.\d{1,4}$`)

// IsRelease says that a tag's name is one of a release: "2026.03.0".
func IsRelease(tag string) bool { return releaseName().MatchString(tag) }

// ParseRelease reads the files of digests of a release: lines "<64 hexadecimal digits> <output>". Other lines count for
// nothing, because the form of old releases is what it is.
func ParseRelease(name string, files [][]byte) Release {
	r := Release{name, map[string]oci.Digest{}}
	for _, data := range files {
		for line := range bytes.Lines(data) {
			fields := strings.Fields(string(line[:min(len(line), 512)]))
			if len(fields) != 2 {
				continue
			}
			if d, err := oci.ParseHexDigest(fields[0]); err == nil {
				r.Digests[fields[1]] = d
			}
		}
	}
	return r
}

// NewReleases sorts releases by their numbers.
func NewReleases(list []Release) *Releases {
	r := &Releases{list: slices.Clone(list), of: map[oci.Digest][]place{}}
	slices.SortFunc(r.list, func(a, b Release) int { return compareNames(a.Name, b.Name) })
	for i, one := range r.list {
		for output, d := range one.Digests {
			r.of[d] = append(r.of[d], place{i, output})
		}
	}
	return r
}

func compareNames(a, b string) int {
	x, y := strings.Split(strings.TrimPrefix(a, "v"), "."), strings.Split(strings.TrimPrefix(b, "v"), ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return cmp.Compare(m, n)
		}
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
}

// Newest returns the newest release, and false if there is none.
func (r *Releases) Newest() (Release, bool) {
	if len(r.list) == 0 {
		return Release{}, false
	}
	return r.list[len(r.list)-1], true
}

// Named returns the release of a name.
func (r *Releases) Named(name string) (Release, bool) {
	i := slices.IndexFunc(r.list, func(one Release) bool { return one.Name == name })
	if i < 0 {
		return Release{}, false
	}
	return r.list[i], true
}

// Names returns the names of all, the newest first.
func (r *Releases) Names() (names []string) {
	for _, one := range slices.Backward(r.list) {
		names = append(names, one.Name)
	}
	return names
}

// newestOf returns the newest release that lists an output.
func (r *Releases) newestOf(output string) (Release, bool) {
	for i := len(r.list) - 1; i >= 0; i-- {
		if _, ok := r.list[i].Digests[output]; ok {
			return r.list[i], true
		}
	}
	return Release{}, false
}
