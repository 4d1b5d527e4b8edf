package buildlog

import (
	"bufio"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// runs are the RUN steps that a log tells of, by BuildKit's name for them, which
// the members of a family share.
type runs struct {
	cached []string        // in order
	ran    map[string]bool // their output is in the log
}

var (
	runLine    = regexp.MustCompile(`^#(\d+) (\[.*\] RUN .*)`)
	cachedLine = regexp.MustCompile(`^#(\d+) CACHED`)
)

func readRuns(r io.Reader) (runs, error) {
	found, names := runs{ran: map[string]bool{}}, map[string]string{}
	lines := bufio.NewReader(r)
	for {
		line, whole, err := lines.ReadLine()
		switch m := runLine.FindSubmatch(line); {
		case m != nil:
			names[string(m[1])] = string(m[2])
			found.ran[string(m[2])] = true
		default:
			if m := cachedLine.FindSubmatch(line); m != nil && names[string(m[1])] != "" {
				name := names[string(m[1])]
				found.cached = append(found.cached, name)
				delete(found.ran, name)
			}
		}
		for whole && err == nil { // the rest of a long line says nothing
			_, whole, err = lines.ReadLine()
		}
		if err == io.EOF {
			return found, nil
		} else if err != nil {
			return found, err
		}
	}
}

// CachedRuns returns how many RUN steps of a log were not run, because the engine
// had their result, and the newest log that has the output of the first of them,
// "" where none is left: of the same output or of one of its family.
func CachedRuns(state string, l *Log, family []string) (n int, log string) {
	root, err := os.OpenRoot(state)
	if err != nil {
		return 0, ""
	}
	defer root.Close()
	rel, err := filepath.Rel(state, l.Path)
	if err != nil {
		return 0, ""
	}
	here, err := runsOf(root, rel)
	if err != nil || len(here.cached) == 0 {
		return 0, ""
	}
	var names []string
	for _, output := range family {
		found, _ := fs.Glob(root.FS(), filepath.Join(logsDir, output, "*"+logExt))
		names = append(names, found...)
	}
	slices.SortFunc(names, func(a, b string) int { // the newest first
		return strings.Compare(filepath.Base(b), filepath.Base(a))
	})
	for _, name := range names {
		if there, err := runsOf(root, name); err == nil && there.ran[here.cached[0]] {
			return len(here.cached), filepath.Join(state, name)
		}
	}
	return len(here.cached), ""
}

func runsOf(root *os.Root, name string) (runs, error) {
	f, err := openRegular(root, name)
	if err != nil {
		return runs{}, err
	}
	defer f.Close()
	return readRuns(f)
}
