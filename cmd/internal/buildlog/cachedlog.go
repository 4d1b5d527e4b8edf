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

// runs lists the RUN steps in a log, by the names that BuildKit gives them, which
// are the same in all members of a family.
type runs struct {
	cached []string        // steps that were not run, in order
	ran    map[string]bool // steps whose output is in the log
}

var (
	runLine    = regexp.MustCompile(`^#(\d+) (\[.*\] RUN .*)`)
	cachedLine = regexp.MustCompile(`^#(\d+) CACHED`)
)

// readRuns reads the RUN steps from a log.
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
		for whole && err == nil { // skip the rest of a long line
			_, whole, err = lines.ReadLine()
		}
		if err == io.EOF {
			return found, nil
		} else if err != nil {
			return found, err
		}
	}
}

// CachedRuns returns how many RUN steps in a log were not run because the engine had
// their result, and the path of the newest log, of this output or of one of its
// family, with the output of the first of them; "" if there is none.
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
