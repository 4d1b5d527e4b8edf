package progress

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"codeberg.org/stagex/sx/cmd/internal/buildlog"
	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// tailBytes is how much of a log is ever shown.
const tailBytes = 32 << 10

// LogTail reads the last lines of the file, at most so many and 32 KiB. They are not
// escaped. A line that is only there from its middle begins with "…".
func LogTail(path string, most int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	offset := max(info.Size()-tailBytes, 0)
	data, err := io.ReadAll(io.NewSectionReader(f, offset, tailBytes))
	if err != nil {
		return nil, err
	}
	if data = bytes.TrimRight(data, "\n"); len(data) == 0 {
		return nil, nil
	}
	if offset > 0 {
		for len(data) > 0 && !utf8.RuneStart(data[0]) {
			data = data[1:]
		}
		data = append([]byte("…"), data...)
	}
	all := strings.Split(string(data), "\n")
	all = withoutFrame(all)
	return all[max(len(all)-most, 0):], nil
}

// How much of a failure's log its event has.
const (
	failureLines = 40
	failureBytes = 8 << 10
)

// failureTail returns the end of the log of a failed build, with a newline between two
// lines, "" if there is none.
func failureTail(r driver.Result) string {
	if r.Outcome != plan.Failed || r.Log == "" {
		return ""
	}
	lines, err := LogTail(r.Log, failureLines)
	if err != nil {
		return err.Error()
	}
	tail := strings.Join(lines, "\n")
	for len(tail) > failureBytes {
		_, rest, ok := strings.Cut(tail, "\n")
		if !ok {
			return text.Shorten(tail, failureBytes)
		}
		tail = rest
	}
	return tail
}

// withoutFrame drops the last line, which repeats the message around the tail, and of BuildKit's summary, which repeats the failed step's output between
// two dashed lines, all but that output. Where the step printed nothing, what comes
// before the summary tells more.
func withoutFrame(all []string) []string {
	const dashes = "------"
	if last := len(all) - 1; strings.HasPrefix(all[last], buildlog.LogEnd) {
		all = all[:last]
	}
	last := len(all) - 1
	if last < 0 || all[last] != dashes {
		return all
	}
	all = all[:last]
	for i := last - 1; i > 0; i-- {
		if all[i-1] == dashes && strings.HasPrefix(all[i], " > ") {
			if i == last-1 {
				return all[:i-1]
			}
			return all[i:]
		}
	}
	return all
}
