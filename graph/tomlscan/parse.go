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
	maxDepth  = 16      // of tables and lists in one another
	maxText   = 8 << 10 // bytes of a key, a text or a number
	maxValues = 10_000  // keys and elements of lists
	maxPaths  = 4 << 20 // bytes of all keys, each with those of the tables around it
)

// Error says where and why data is refused.
type Error struct {
	Line int    // from 1; 0 when it is about the whole file
	Key  string // the last one before, as the decoder has it; may be ""
	Err  error
}

func (e *Error) Error() string {
	if e.Key != "" {
		return fmt.Sprintf("reading %q: %v", e.Key, e.Err)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// File is what a TOML file says.
type File struct {
	Values map[string]any // as [toml.Decode] fills it
	Keys   []*Key         // each once, in the order of the file
	Newer  []Note         // what TOML 1.0 does not allow

	top Key
}

// Key is a key of a file, or a table that is named in the key of another.
type Key struct {
	Name string
	Line int // where it is first named

	parent *Key // nil for the top
	depth  int  // names in its path
	below  map[string]*Key
}

// Note is about a line.
type Note struct {
	Line int
	Text string
}

// Path returns the names that lead to k, its own last.
func (k *Key) Path() toml.Key {
	path := make(toml.Key, k.depth)
	for ; k.parent != nil; k = k.parent {
		path[k.depth-1] = k.Name
	}
	return path
}

// Line returns the line of a key, 0 when the file has none of that path.
func (f *File) Line(path ...string) int {
	k := &f.top
	for _, name := range path {
		if k = k.below[name]; k == nil {
			return 0
		}
	}
	return k.Line
}

// Parse reads data. The error is an *Error.
func Parse(data []byte) (*File, error) {
	f := &File{}
	s := scanner{data: data, line: 1, file: f}
	stopped := s.scan()
	if s.err != nil {
		return nil, s.err
	}
	if stopped { // the decoder says what is wrong there, and need not see more
		data = data[:min(s.endOfLine()+1, len(data))]
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
