package examples_test

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

const seed = "packages/bootstrap/seed/"

// assemble is hex0 in Go: digits make bytes, # and ; begin comments.
func assemble(t *testing.T, name string) []byte {
	t.Helper()
	var digits strings.Builder
	for _, line := range hexLines(t, name) {
		digits.WriteString(strings.Join(strings.Fields(line[0]), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("assembling %q: %v", name, err)
	}
	return b
}

// hexLines splits each line of a hex0 file into its digits and its comment.
func hexLines(t *testing.T, name string) [][2]string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var lines [][2]string
	for line := range strings.Lines(string(data)) {
		digits, comment := line, ""
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			digits, comment = line[:i], line[i+1:]
		}
		lines = append(lines, [2]string{strings.TrimSpace(digits), strings.TrimSpace(comment)})
	}
	return lines
}

// hexFiles are all hex0 files of the tree, but not what building it leaves: whether one
// is a whole program says whole.
func hexFiles(t *testing.T) (files []string) {
	t.Helper()
	for _, folder := range []string{"packages", "fetch"} {
		found := 0
		err := fs.WalkDir(os.DirFS("."), folder, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && path.Ext(name) == ".hex0" {
				files = append(files, name)
				found++
			}
			return err
		})
		if err != nil || found == 0 {
			t.Fatalf("finding hex0 files in %s: %d found, %v", folder, found, err)
		}
	}
	return files
}

func whole(program []byte) bool { return bytes.HasPrefix(program, []byte("\x7fELF")) }

func TestSeedIsItsSource(t *testing.T) {
	want, err := os.ReadFile(seed + "hex0-seed")
	if err != nil {
		t.Fatal(err)
	}
	if got := assemble(t, seed+"hex0.hex0"); !bytes.Equal(got, want) {
		t.Errorf("hex0.hex0 describes\n%x\nhex0-seed is\n%x", got, want)
	}
}

func TestEveryByteIsExplained(t *testing.T) {
	for _, name := range hexFiles(t) {
		for i, line := range hexLines(t, name) {
			if line[0] != "" && line[1] == "" {
				t.Errorf("%s:%d: %q without a comment", name, i+1, line[0])
			}
		}
	}
}

// TestProgramSizes: a whole program's header says its length (p_filesz, at 96), and the common header's
// length holds for every program that it is put before.
func TestProgramSizes(t *testing.T) {
	const common = "fetch/bootstrap/stage1/elf64.hex0"
	header := assemble(t, common)
	for _, name := range hexFiles(t) {
		b := assemble(t, name)
		switch {
		case name == common:
		case !whole(b):
			if got, most := len(header)+len(b), length(header); got > most {
				t.Errorf("%s: %d bytes with its header, which allows %d", name, got, most)
			}
		case len(b) != length(b):
			t.Errorf("%s: %d bytes, its header says %d", name, len(b), length(b))
		}
	}
}

// length is the field p_filesz of a 64-bit program whose first program header stands at 64.
func length(program []byte) int {
	return int(program[96]) | int(program[97])<<8
}
