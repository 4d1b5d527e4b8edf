package settings

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/graph/tomlscan"
)

// Options says where settings come from. The zero Options give Default.
type Options struct {
	UserFile string              // the user's stagex.toml, which may be missing; "" for none. See UserFile.
	Tree     fs.FS               // the tree, whose stagex.toml may be missing; nil for none. Use os.Root's, so that no link leaves it.
	Getenv   func(string) string // os.Getenv; nil for none. A variable that is empty says nothing.
	Flags    map[string]string   // what flags say, by key: {"build.jobs": "4"}
	// FlagNames are the names of these flags for errors, by key: {"build.jobs": "--jobs"}.
	FlagNames map[string]string
}

// Error is one thing that is wrong, in what the user or the tree wrote. Load joins them.
type Error struct {
	Where string // "stagex.toml:3", "SX_FETCH_STALL", "--jobs" or "flag"
	Key   string // "" where no key is to blame
	Err   error
}

func (e *Error) Error() string {
	if e.Key == "" {
		return shorten(fmt.Sprintf("%s: %v", e.Where, e.Err))
	}
	return shorten(fmt.Sprintf("%s: setting %q: %v", e.Where, e.Key, e.Err))
}

// shorten leaves out the middle of a message of more than 1,000 bytes, which quotes a value as long.
func shorten(text string) string {
	const half = 500
	if len(text) <= 2*half {
		return text
	}
	head, tail := strings.ToValidUTF8(text[:half], ""), strings.ToValidUTF8(text[len(text)-half:], "")
	return fmt.Sprintf("%s … (%d bytes) … %s", head, len(text)-2*half, tail)
}

func (e *Error) Unwrap() error { return e.Err }

// UserFile returns the path of the user's stagex.toml: in $XDG_CONFIG_HOME/sx, else in ~/.config/sx, "" where neither is
// known. A relative XDG_CONFIG_HOME does not count (XDG Base Directory Specification).
func UserFile(getenv func(string) string) string {
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sx", FileName)
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "sx", FileName)
	}
	return ""
}

// Load returns the settings, or every *Error joined, in the order: the tree's file, the user's, variables, flags.
func Load(o Options) (Settings, error) {
	l := loader{options: o, settings: Default()}
	caps := l.tree()
	l.user()
	for _, lower := range caps {
		lower()
	}
	l.environment()
	l.flags()
	l.checkEngines()
	if err := errors.Join(l.errs...); err != nil {
		return Settings{}, err
	}
	return l.settings, nil
}

// loader lets each source say its part over the one before.
type loader struct {
	options  Options
	settings Settings
	errs     []error
	// engineFrom is what gave engine.address last.
	engineFrom string
}

// tree applies the tree's file. Of its caps it returns what lowers the user's, once those are known.
func (l *loader) tree() (caps []func()) {
	if l.options.Tree == nil {
		return nil
	}
	data, err := readTree(l.options.Tree)
	l.file(FileName, data, err, func(k key, text string) error {
		if k.userOnly != "" {
			return fmt.Errorf("it belongs in the user's settings (%s), not in a tree: %s", l.userFile(), k.userOnly)
		}
		if k.limit == nil {
			return k.set(&l.settings, text)
		}
		var said Settings
		if err := k.set(&said, text); err != nil {
			return err
		}
		caps = append(caps, func() { *k.limit(&l.settings) = min(*k.limit(&l.settings), *k.limit(&said)) })
		return nil
	})
	return caps
}

func (l *loader) user() {
	if l.options.UserFile == "" {
		return
	}
	data, err := readUser(l.options.UserFile)
	l.file(l.options.UserFile, data, err, func(k key, text string) error { return k.set(&l.settings, text) })
}

func (l *loader) userFile() string {
	if l.options.UserFile == "" {
		return "~/.config/sx/" + FileName
	}
	return l.options.UserFile
}

func (l *loader) environment() {
	if l.options.Getenv == nil {
		return
	}
	for _, k := range keys {
		for _, name := range []string{k.env(), k.also} {
			if text := l.options.Getenv(name); name != "" && text != "" {
				l.note(k.name, name)
				l.add(name, "", k.set(&l.settings, text))
				break
			}
		}
	}
}

func (l *loader) flags() {
	var names []string
	for name := range l.options.Flags {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		k, ok := keyNamed(name)
		if !ok {
			panic(fmt.Sprintf("settings: internal error: a flag for the unknown setting %q", name))
		}
		err := k.set(&l.settings, l.options.Flags[name])
		flag := l.options.FlagNames[name]
		l.note(name, cmp.Or(flag, "flag"))
		if flag != "" {
			l.add(flag, "", err)
		} else {
			l.add("flag", name, err)
		}
	}
}

// file hands each known key of a file to say.
func (l *loader) file(name string, data []byte, err error, say func(key, string) error) {
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var entries []entry
	if err == nil {
		entries, err = parseFile(name, data)
	}
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	for _, e := range known(entries, func(e entry, err error) { l.add(where(name, e.line), "", err) }) {
		text, err := textOf(e.value)
		if err == nil {
			k, _ := keyNamed(e.name)
			l.note(e.name, where(name, e.line))
			err = say(k, text)
		}
		l.add(where(name, e.line), e.name, err)
	}
}

// note keeps where an engine was chosen, for the error if there is no such engine.
func (l *loader) note(key, where string) {
	if key == "engine.address" {
		l.engineFrom = where
	}
}

func (l *loader) add(where, key string, err error) {
	switch n := len(l.errs); {
	case err == nil || n > maxErrors:
	case n == maxErrors:
		l.errs = append(l.errs, fmt.Errorf("%s: more than %d errors before it", where, maxErrors))
	default:
		l.errs = append(l.errs, &Error{Where: where, Key: key, Err: err})
	}
}

// maxErrors bounds the errors that are reported at once.
const maxErrors = 20

// readTree reads the tree's file: a regular one, of a size that a person could have written.
func readTree(tree fs.FS) ([]byte, error) {
	info, err := fs.Stat(tree, FileName)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &Error{Where: FileName, Err: errors.New("want a regular file")}
	}
	f, err := tree.Open(FileName)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readSome(f)
}

func readUser(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a pipe may never end
		return nil, &Error{Where: name, Err: errors.New("want a regular file")}
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readSome(f)
}

// readSome reads a byte more than the parser takes, which then says so.
func readSome(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, tomlscan.MaxSize+1))
}
