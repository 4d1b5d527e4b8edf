package imagediff

import (
	"bytes"
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The causes that Compare knows.
const (
	causeTimestamp  = "timestamp"
	causeBuildPath  = "build path"
	causeBuildID    = "build id"
	causeHashOrder  = "order of a hash table or folder"
	causeJobs       = "number of jobs"
	causeCPU        = "CPU features"
	causeLocale     = "locale"
	causeHostname   = "host or user name"
	causeRandom     = "random name or id"
	causeUmask      = "umask"
	causeUser       = "user that built"
	causeCompressor = "compressor or its level"
)

// A rule recognizes a cause in the text around a difference. One side must match the
// pattern, and the other side what it says of that: the same, a weaker pattern, or
// anything (nil). Each match must reach the difference.
type rule struct {
	cause   string
	pattern *regexp.Regexp
	other   *regexp.Regexp
}

// both is a rule whose pattern both sides must match.
func both(cause, pattern string) rule {
	p := regexp.MustCompile(pattern)
	return rule{cause, p, p}
}

// either is a rule for one side alone.
func either(cause, pattern string) rule {
	return rule{cause: cause, pattern: regexp.MustCompile(pattern)}
}

const (
	date     = `(19|20)\d\d[-/.]?(0[1-9]|1[0-2])[-/.]?(0[1-9]|[12]\d|3[01])`
	dayTime  = `([01]\d|2[0-3]):[0-5]\d:[0-5]\d`
	month    = `(Jan(uary)?|Feb(ruary)?|Mar(ch)?|Apr(il)?|May|June?|July?|Aug(ust)?|Sept?(ember)?|Oct(ober)?|Nov(ember)?|Dec(ember)?)`
	language = `(C|POSIX|[a-z]{2}(_[A-Z]{2})?)`
)

// rules are tried in this order. They are compiled when they are first used, as all
// patterns of this package: compiling them took a fortieth of a build with nothing to do.
// No cause is better than a wrong one: words that mean something else too are no pattern.
var rules = sync.OnceValue(func() []rule {
	return []rule{
		both(causeBuildID, `(?i)(go build id: "|build[-_]?id[^0-9a-z]{1,4})[0-9a-z/_-]*`),
		both(causeTimestamp, `\b`+date+`([T _:-]{0,2}\d\d:?\d\d(:?\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?)?(\b|$)`),
		both(causeTimestamp, `\b((Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +)?(\d{1,2} +)?`+month+`\b\.? +[ \d]?\d(,? +(\d\d:\d\d(:\d\d)?( +[A-Z]{3,4})?( +(19|20)\d\d)?|(19|20)\d\d( +\d\d:\d\d(:\d\d)?)?))?`),
		both(causeTimestamp, `(^|[^:\w.])`+dayTime+`([^:\w]|$)`),
		both(causeRandom, `(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`),
		both(causeRandom, `/(tmp|var/tmp)/(tmp|cc|go-build|pip-|rustc|cargo-)[.A-Za-z0-9_-]{4,}`),
		// Seconds since 1970, of this century; the other side may have none, as SOURCE_DATE_EPOCH does.
		{causeTimestamp, regexp.MustCompile(`\b1[0-9]{9}\b`), regexp.MustCompile(`\b(1[0-9]{9}|0|1)\b`)},
		either(causeCPU, `(?i)(-m(arch|tune|cpu|fpu|sse|avx|bmi|fma)[=0-9a-z.+-]*|\b(s?sse[1-5][a-z0-9_.]*|avx[0-9][a-z0-9_]*|bmi[12]|fma[34]|aes-?ni|x86[-_]64[-_]v[1-4]|znver[0-9]|armv[89](\.[0-9])?-a[a-z0-9.+-]*)\b)`),
		both(causeCPU, `(?i)(\b(neon|asimd|sve2?|avx|skylake[a-z-]*|haswell|broadwell|icelake[a-z-]*|cascadelake)\b|(cpu family|cpu model|model name|target[-_ ]cpu|cpu features?)["\t ]*[:=][^\n]*)`),
		both(causeJobs, `(?i)((^|\s)-j ?|jobs[ =:"]{1,3}|nproc[ =:"]{1,3}|parallel[a-z_]*[ =:"]{1,3}|threads[ =:"]{1,3}|n?cpus[ =:"]{1,3})\d+`),
		both(causeLocale, `\b(LC_[A-Z]+|LANG|LANGUAGE)["' ]?[=: ]["' ]?[A-Za-z0-9_.@-]*`),
		both(causeLocale, `\b`+language+`\.(UTF-?8|utf8|[Ii][Ss][Oo][-_]?8859[-0-9]*)`),
		{causeLocale, regexp.MustCompile("[‘’“”]"), regexp.MustCompile("['\"`]")},
		both(causeHostname, `(?i)(\b[a-z_][a-z0-9_.-]*@[a-z][a-z0-9-]*([^a-z0-9.-]|$)|(host[ _-]?name|node ?name|build[-_ ]?(host|user))[" =:]{1,3}[^\n"]*|\b(built|compiled|packaged|builder)\b[^\n]{0,30}@[a-z][^\n]*)`),
	}
})

// buildPaths matches the beginnings of folders in which people and machines build.
var buildPaths = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^/(tmp|var/tmp|build|builds|builddir|home|root|src|usr/src|work|workspace|mnt|private|Users|nix/store|github|proc/self/cwd)(/|$)`)
})

// cause guesses why a window differs; "" is no idea.
func (w window) cause() string {
	if c := w.binaryCause(); c != "" {
		return c
	}
	x, y := w.line(w.a), w.line(w.b)
	if len(x.text)+len(y.text) == 0 {
		return ""
	}
	for _, r := range rules() {
		if x.matches(r.pattern) && y.matches(r.other) || y.matches(r.pattern) && x.matches(r.other) {
			return r.cause
		}
	}
	if buildPaths().MatchString(x.token()) && buildPaths().MatchString(y.token()) {
		return causeBuildPath
	}
	return ""
}

// causeOf guesses why two short texts differ.
func causeOf(a, b string) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	from := max(at-around, 0)
	cut := func(s string) []byte { return []byte(s[from:min(len(s), at+around)]) }
	return window{a: cut(a), b: cut(b), at: at - from}.cause()
}

// A line is the text around a difference, and where in it that is.
type line struct {
	text string
	at   int
}

// line takes the printable text around the difference, up to the ends of the line.
func (w window) line(b []byte) line {
	printable := func(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' }
	at := min(w.at, len(b))
	from, to := at, at
	for from > 0 && printable(b[from-1]) {
		from--
	}
	for to < len(b) && printable(b[to]) {
		to++
	}
	return line{string(b[from:to]), at - from}
}

// matches says that the pattern matches where the lines differ, or ends there: two numbers may differ in length.
// nil matches anything.
func (l line) matches(p *regexp.Regexp) bool {
	if p == nil {
		return true
	}
	for _, m := range p.FindAllStringIndex(l.text, 32) {
		if m[0] <= l.at && l.at <= m[1] {
			return true
		}
	}
	return false
}

// token is the word that the difference is in, as paths are cut.
func (l line) token() string {
	const ends = " \t\"'=:;,()<>[]{}|"
	from := strings.LastIndexAny(l.text[:l.at], ends) + 1
	to := strings.IndexAny(l.text[l.at:], ends)
	if to < 0 {
		to = len(l.text) - l.at
	}
	return l.text[from : l.at+to]
}

// binaryCause recognizes fields of formats.
func (w window) binaryCause() string {
	before := w.a[:min(w.at, len(w.a))]
	gzip := w.offset < 8 && w.offset >= 4 && bytes.HasPrefix(before, []byte{0x1f, 0x8b})
	pyc := strings.HasSuffix(w.path, ".pyc") && w.offset >= 8 && w.offset < 12
	if gzip || pyc || within(before, "PK\x03\x04", 10, 14) || within(before, "PK\x01\x02", 12, 16) {
		return causeTimestamp
	}
	// An ELF note: name size 4, description size, type 3, "GNU".
	if i := bytes.LastIndex(before, []byte("\x03\x00\x00\x00GNU\x00")); i >= 8 && len(before)-i < 8+20 &&
		bytes.Equal(before[i-8:i-4], []byte{4, 0, 0, 0}) {
		return causeBuildID
	}
	return ""
}

// within says that magic stands from to to bytes before the end.
func within(before []byte, magic string, from, to int) bool {
	i := bytes.LastIndex(before, []byte(magic))
	return i >= 0 && len(before)-i >= from && len(before)-i < to
}

// votes count guesses, "" for no idea.
type votes map[string]int

func (v *votes) add(cause string) {
	if *v == nil {
		*v = votes{}
	}
	(*v)[cause]++
}

// best is the most frequent, and of those the first by name; "" if most differences have
// no known cause. A build id is a consequence if there is anything else.
func (v votes) best() string {
	all, unknown := 0, v[""]
	for _, n := range v {
		all += n
	}
	delete(v, "")
	if unknown*2 > all || unknown > 0 && len(v) == 1 && v[causeBuildID] > 0 {
		return ""
	}
	if len(v) > 1 {
		delete(v, causeBuildID)
	}
	names := slices.SortedFunc(maps.Keys(v), func(a, b string) int { return cmp.Or(v[b]-v[a], cmp.Compare(a, b)) })
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// maxReordered bounds the files that are looked through for the same lines in another order.
const maxReordered = 1 << 20

// reordered says that both contents have the same lines, words or strings, in another order.
func (p pair) reordered() (bool, error) {
	if p.a.Size() > maxReordered || p.b.Size() != p.a.Size() {
		return false, nil
	}
	a, b := make([]byte, p.a.Size()), make([]byte, p.b.Size())
	if len(a) == 0 {
		return false, nil
	}
	if err := cmp.Or(readAt(p.a, a, 0), readAt(p.b, b, 0)); err != nil {
		return false, err
	}
	if !isText(a[:min(len(a), 4096)]) {
		return permuted(printables(a), printables(b), 2, 3), nil
	}
	lines := func(b []byte) []string { return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") }
	words := func(b []byte) []string {
		return strings.FieldsFunc(string(b), func(r rune) bool { return strings.ContainsRune(" \t\n,;{}[]()", r) })
	}
	return permuted(lines(a), lines(b), 2, 1) || permuted(words(a), words(b), 3, 2), nil // "a - b" and "b - a" are two words
}

// printables are the runs of printable bytes of a binary.
func printables(b []byte) []string {
	return strings.FieldsFunc(string(b), func(r rune) bool { return r < ' ' || r > '~' })
}

// permuted says that both have the same strings, but not in the same order: at least so
// many are in another place, each of at least so many bytes.
func permuted(a, b []string, least, length int) bool {
	if len(a) != len(b) {
		return false
	}
	moved := 0
	for i := range a {
		if a[i] == b[i] {
			continue
		}
		if moved++; min(len(a[i]), len(b[i])) < length {
			return false
		}
	}
	if moved < least {
		return false
	}
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
