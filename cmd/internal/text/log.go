package text

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// maxLine bounds what a LogWriter holds back, in bytes.
const maxLine = 64 << 10

// LogWriter makes a stream of log lines harmless, as Lines does, and writes each line whole, with its line feed, in one
// Write. A line longer than 64 KiB is broken into several. It is not safe for concurrent use.
type LogWriter struct {
	w       io.Writer
	pending []byte
}

var _ io.WriteCloser = (*LogWriter)(nil)

// NewLogWriter returns a LogWriter over w. Close it, or a last line without line feed stays unwritten.
func NewLogWriter(w io.Writer) *LogWriter {
	return &LogWriter{w: w}
}

// Write takes any piece of the stream; lines and characters may be split between calls. An error is w's, and the lines
// not written by then are lost.
func (l *LogWriter) Write(p []byte) (int, error) {
	l.pending = append(l.pending, p...)
	rest := l.pending
	defer func() { l.pending = append(l.pending[:0], rest...) }()
	for {
		line, after, ok := cutLine(rest)
		if !ok {
			return len(p), nil
		}
		rest = after
		if err := l.emit(line); err != nil {
			rest = nil
			return 0, err
		}
	}
}

// Close writes what is left as a last line. It does not close the writer below.
func (l *LogWriter) Close() error {
	if len(l.pending) == 0 {
		return nil
	}
	line := l.pending
	l.pending = nil
	return l.emit(line)
}

// cutLine takes the first line off b, without its line end, or, of a line that is too long, its first part.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	end := bytes.IndexByte(b, '\n')
	if end >= 0 && end <= maxLine {
		return bytes.TrimSuffix(b[:end], []byte("\r")), b[end+1:], true
	}
	if len(b) <= maxLine {
		return nil, b, false
	}
	cut := maxLine
	for cut > maxLine-utf8.UTFMax && !utf8.RuneStart(b[cut]) {
		cut--
	}
	return b[:cut], b[cut:], true
}

func (l *LogWriter) emit(line []byte) error {
	_, err := io.WriteString(l.w, logLine(string(line))+"\n")
	return err
}
