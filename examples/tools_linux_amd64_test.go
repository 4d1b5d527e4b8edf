package examples_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool assembles programs in Go and runs them here, as the tree's RUN steps do in their sandbox.
type tool struct {
	t   *testing.T
	dir string
}

func newTool(t *testing.T) tool { return tool{t, t.TempDir()} }

// program writes the named hex0 file, behind the common header where it has none, as a program.
func (o tool) program(file string) string {
	o.t.Helper()
	b := assemble(o.t, file)
	if !whole(b) {
		b = append(assemble(o.t, "fetch/bootstrap/stage1/elf64.hex0"), b...)
	}
	name := filepath.Join(o.dir, filepath.Base(file)+".bin")
	if err := os.WriteFile(name, b, 0o755); err != nil {
		o.t.Fatal(err)
	}
	return name
}

func (o tool) write(name, content string) string {
	o.t.Helper()
	name = filepath.Join(o.dir, name)
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		o.t.Fatal(err)
	}
	return name
}

func (o tool) read(name string) string {
	o.t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		o.t.Fatal(err)
	}
	return string(data)
}

// run returns the program's standard output and its status.
func (o tool) run(program string, args ...string) (string, int) {
	o.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = o.dir
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		o.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestHex0(t *testing.T) {
	o := newTool(t)
	hex0 := o.program(seed + "hex0.hex0")
	for _, file := range hexFiles(t) {
		source := o.write("source", o.read(file))
		out := filepath.Join(o.dir, "out")
		if _, status := o.run(hex0, source, out); status != 0 {
			t.Errorf("%s: status %d", file, status)
		}
		if got := o.read(out); !bytes.Equal([]byte(got), assemble(t, file)) {
			t.Errorf("%s: got %x", file, got)
		}
	}
	tests := []struct {
		source, want string
		status       int
	}{
		{"", "", 0},
		{"41 4a 4B\t4c\r\n;44\n45#46", "AJKLE", 0},
		{"4 1", "A", 0},
		{"41 4", "A", 0x14 - 1},
		{"41 g", "A", 1},
		{"@", "", 1},
		{"/", "", 1},
		{":", "", 1},
		{"`", "", 1},
		{"\x80\xff", "", 1},
	}
	for _, test := range tests {
		out := filepath.Join(o.dir, "out")
		_, status := o.run(hex0, o.write("source", test.source), out)
		if got := o.read(out); got != test.want || status != test.status {
			t.Errorf("hex0 of %q: got %q, status %d, want %q, %d", test.source, got, status, test.want, test.status)
		}
	}
}

func TestFailures(t *testing.T) {
	o := newTool(t)
	o.write("a", "a")
	tests := map[string][][]string{
		seed + "hex0.hex0":                  {{}, {"a"}, {"none", "out"}, {"a", "none/out"}, {".", "out"}},
		seed + "cmp.hex0":                   {{}, {"a"}, {"a", "none"}, {"none", "a"}, {".", "."}, {"a", "."}},
		"fetch/bootstrap/stage1/join.hex0":  {{}, {"none/out"}, {"out", "none"}, {"out", "a", "."}, {"/dev/full", "a"}},
		"fetch/core/tools/upper-1.2.0.hex0": {{}, {"a"}, {"none", "out"}, {".", "out"}, {"a", "/dev/full"}},
		"fetch/core/tools/print-1.2.0.hex0": {{"none"}, {"."}, {"a", "none"}},
		"fetch/core/tools/rm-1.2.0.hex0":    {{"none"}, {"."}},
		"fetch/core/tools/ln-1.1.0.hex0":    {{}, {"a"}, {"b", "a"}, {"a", "none/b"}},
	}
	for file, calls := range tests {
		program := o.program(file)
		for _, args := range calls {
			if _, status := o.run(program, args...); status <= 0 {
				t.Errorf("%s %q: status %d", file, args, status)
			}
		}
	}
}

func TestCmp(t *testing.T) {
	o := newTool(t)
	cmp := o.program(seed + "cmp.hex0")
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"same\x00", "same\x00", 0},
		{"", "x", 1}, {"x", "", 1}, {"ab", "ac", 1}, {"a", "ab", 1}, {"ab", "a", 1},
	}
	for _, test := range tests {
		if _, got := o.run(cmp, o.write("a", test.a), o.write("b", test.b)); got != test.want {
			t.Errorf("cmp of %q and %q: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestTextTools(t *testing.T) {
	o := newTool(t)
	long := strings.Repeat("0123456789abcdef", 1000)
	o.write("a", long)
	o.write("b", "azAZ`{@[\xe4\n")
	ok := func(file string, args ...string) string {
		t.Helper()
		out, status := o.run(o.program(file), args...)
		if status != 0 {
			t.Errorf("%s %q: status %d", file, args, status)
		}
		return out
	}
	ok("fetch/bootstrap/stage1/join.hex0", "ab", "a", "b", "a")
	if got := o.read(filepath.Join(o.dir, "ab")); got != long+"azAZ`{@[\xe4\n"+long {
		t.Errorf("join: got %d bytes", len(got))
	}
	ok("fetch/core/tools/upper-1.2.0.hex0", "b", "B")
	if got, want := o.read(filepath.Join(o.dir, "B")), "AZAZ`{@[\xe4\n"; got != want {
		t.Errorf("upper: got %q, want %q", got, want)
	}
	if got := ok("fetch/core/tools/print-1.2.0.hex0", "a", "b"); got != long+"azAZ`{@[\xe4\n" {
		t.Errorf("print: got %d bytes", len(got))
	}
	ok("fetch/core/tools/ln-1.1.0.hex0", "../b", "link")
	if got, err := os.Readlink(filepath.Join(o.dir, "link")); got != "../b" {
		t.Errorf("ln: got %q, %v", got, err)
	}
	ok("fetch/core/tools/rm-1.2.0.hex0", "a", "link")
	for _, name := range []string{"a", "link"} {
		if _, err := os.Lstat(filepath.Join(o.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("rm left %q: %v", name, err)
		}
	}
	ok("packages/user/true/true.hex0")
}
