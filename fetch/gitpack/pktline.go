package gitpack

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// Lines with a meaning of their own, by their length (gitprotocol-v2(5)).
const (
	flush = 0 // ends a message
	delim = 1 // ends a section
)

// maxLine is the longest line, with its length.
const maxLine = 65520

// line is a line of the protocol: what it holds or, if kind is flush or delim, nothing.
type line struct {
	kind int
	data []byte
}

// reader reads lines.
type reader struct {
	in  io.Reader
	buf [maxLine]byte
}

// next returns the next line, valid until the one after it is read.
func (r *reader) next() (line, error) {
	if _, err := io.ReadFull(r.in, r.buf[:4]); err != nil {
		return line{}, cut(err)
	}
	size, err := strconv.ParseUint(string(r.buf[:4]), 16, 16)
	switch {
	case err != nil || size > maxLine || size > delim && size < 4:
		return line{}, transfer.Answerf("a line that begins with %q is not git's protocol", r.buf[:4])
	case size <= delim:
		return line{kind: int(size)}, nil
	}
	data := r.buf[4:size]
	if _, err := io.ReadFull(r.in, data); err != nil {
		return line{}, cut(err)
	}
	if said, refused := strings.CutPrefix(string(data), "ERR "); refused {
		return line{}, &RefusedError{strings.TrimSpace(said)}
	}
	return line{kind: int(size), data: data}, nil
}

// text returns the next line without its newline; ok is false at the end of the section or
// message.
func (r *reader) text() (text string, ok bool, err error) {
	l, err := r.next()
	if err != nil || l.kind <= delim {
		return "", false, err
	}
	return strings.TrimSuffix(string(l.data), "\n"), true, nil
}

// RefusedError is the server's reason for not answering; foreign text.
type RefusedError struct{ Said string }

func (e *RefusedError) Error() string { return fmt.Sprintf("the server refuses: %.500s", e.Said) }

// cut says that an answer ended in its middle.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the answer ended before it was complete")
	}
	return err
}

// message writes a request: a command, its capabilities and its arguments.
func message(command string, capabilities, arguments []string) string {
	var b strings.Builder
	put := func(text string) { fmt.Fprintf(&b, "%04x%s\n", len(text)+5, text) }
	put("command=" + command)
	for _, c := range capabilities {
		put(c)
	}
	fmt.Fprintf(&b, "%04x", delim)
	for _, a := range arguments {
		put(a)
	}
	fmt.Fprintf(&b, "%04x", flush)
	return b.String()
}
