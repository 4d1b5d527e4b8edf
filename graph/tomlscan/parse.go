package tomlscan

import (
	"errors"
	"fmt"

	"github.com/BurntSushi/toml"
)

// The limits of one file. Upstream's largest package.toml holds 59 kB, 3 levels
// and about 1,500 values.
const (
	MaxSize   = 1 << 20 // bytes
	maxDepth  = 16      // nested tables and lists
	maxText   = 8 << 10 // bytes of a key, a text or a number
	maxValues = 10_000  // keys and elements of lists
	maxPaths  = 4 << 20 // bytes of all keys, each with its path
)

// Error says where and why data is refused.
type Error struct {
	Line int    // from 1; 0 for the whole file
	Key  string // the last key before the error, as the decoder reports it; may be ""
	Err  error
}

func (e *Error) Error() string {
	if e.Key != "" {
		return fmt.Sprintf("reading %q: %v", e.Key, e.Err)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// File is a parsed TOML file.
type File struct {
	Values map[string]any // as [toml.Decode] fills it
	Keys   []*Key         // each once, in the order of the file
	Newer  []Note         // what TOML 1.0 does not allow

	top Key
}

// Key is a key of a file, or a table that only the path of another key names.
type Key struct {
	Name string
	Line int // where it is first named
	// Value is the text of its value, with quotes and brackets; zero for a table that has
	// a header, or that only the path of another key names.
	Value  Span
	Header Span // "[a.b]", if the key is a table with a header

	parent *Key           // nil for the top
	table  map[string]any // see plainValues
	depth  int            // names in its path
	below  map[string]*Key
}

// Span is a part of the text: the bytes from Start up to End.
type Span struct{ Start, End int }

// Note is a remark about a line.
type Note struct {
	Line int
	Text string
}

// Path returns the names that lead to k, and its own.
func (k *Key) Path() toml.Key {
	path := make(toml.Key, k.depth)
	for ; k.parent != nil; k = k.parent {
		path[k.depth-1] = k.Name
	}
	return path
}

// Key returns a key, nil if there is no such key.
func (f *File) Key(path ...string) *Key {
	k := &f.top
	for _, name := range path {
		if k = k.below[name]; k == nil {
			return nil
		}
	}
	return k
}

// Line returns the line of a key, 0 if there is no such key.
func (f *File) Line(path ...string) int {
	if k := f.Key(path...); k != nil {
		return k.Line
	}
	return 0
}

// Parse reads data. The error is an *Error.
func Parse(data []byte) (*File, error) {
	f := &File{}
	s := scanner{data: data, line: 1, file: f}
	stopped := s.scan()
	if s.err != nil {
		return nil, s.err
	}
	if stopped { // the decoder reports the error there, and need not see more
		data = data[:min(s.endOfLine()+1, len(data))]
	}
	if !stopped && !s.odd {
		var ok bool
		if f.Values, ok = f.plainValues(data); ok {
			return f, nil
		}
	}
	_, err := toml.Decode(string(data), &f.Values)
	var syntax toml.ParseError
	switch {
	case errors.As(err, &syntax):
		return nil, &Error{syntax.Position.Line, syntax.LastKey, errors.New(syntax.Message)}
	case err != nil:
		return nil, &Error{0, "", err}
	case stopped:
		return nil, &Error{s.line, "", errors.New("this is not TOML")}
	}
	return f, nil
}
