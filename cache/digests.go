package cache

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/oci"
)

// Published maps each output to the digest of its manifest, as the tree's digests/
// lists it.
type Published map[string]oci.Digest

// stages are the stages with a file in digests/.
var stages = []string{"bootstrap", "core", "pallet", "user"}

// Limits of one file of digests/. StageX's largest has 35 kB.
const (
	digestsLimit = 8 << 20 // bytes
	lineLimit    = 512     // bytes of a line: a digest and a name of at most 200
)

// ParseDigests reads digests/<stage>.txt: lines "<64 hex> <stage>-<name>\n", each
// output once. Checkouts and editors may change line ends: a line may end with CRLF,
// the last one without any, and empty lines are ignored. An error names the file and
// the line.
func ParseDigests(r io.Reader, stage string) (Published, error) {
	p := Published{}
	if err := p.read(r, stage); err != nil {
		return nil, err
	}
	return p, nil
}

// read adds the lines of a stage's file.
func (p Published) read(r io.Reader, stage string) error {
	data, err := io.ReadAll(io.LimitReader(r, digestsLimit+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", digestsFile(stage), err)
	}
	if len(data) > digestsLimit {
		return fmt.Errorf("parsing %s: it has more than %d bytes", digestsFile(stage), digestsLimit)
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			continue
		}
		if len(line) > lineLimit {
			err = fmt.Errorf("the line has more than %d bytes: %.80q…", lineLimit, line)
		} else {
			err = p.add(string(line), stage)
		}
		if err != nil {
			return fmt.Errorf("parsing %s:%d: %w", digestsFile(stage), n, err)
		}
	}
	return nil
}

func (p Published) add(line, stage string) error {
	digits, output, ok := strings.Cut(line, " ")
	if !ok {
		return fmt.Errorf("want %q, got %q", "<digest> <output>", line)
	}
	d, err := oci.ParseHexDigest(digits)
	if err != nil {
		return fmt.Errorf("parsing digest %q: %w", digits, err)
	}
	if err := CheckName(output); err != nil {
		return err
	}
	if !strings.HasPrefix(output, stage+"-") {
		return fmt.Errorf("output %q is not of stage %q", output, stage)
	}
	if _, twice := p[output]; twice {
		return fmt.Errorf("output %q is listed twice", output)
	}
	p[output] = d
	return nil
}

func digestsFile(stage string) string { return path.Join("digests", stage+".txt") }

// LoadDigests reads all files of a tree's digests/. A missing file lists nothing. A
// link is refused, as by WriteDigests.
func LoadDigests(tree fs.FS) (Published, error) {
	info, err := fs.Lstat(tree, "digests")
	switch {
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return nil, fmt.Errorf("reading digests: opening %q: %s", "digests", disk.IsLink)
	case err == nil && !info.IsDir():
		return nil, errors.New("reading digests: it is not a folder; move it away, or restore digests/ (git checkout digests)")
	}
	all := Published{}
	var errs []error
	for _, stage := range stages {
		errs = append(errs, all.load(tree, stage))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

// StrayDigests lists the files <name>.txt in a tree's digests/ that belong to no
// stage, sorted. [LoadDigests] does not read them.
func StrayDigests(tree fs.FS) (stray []string) {
	entries, err := fs.ReadDir(tree, "digests")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if stage, ok := strings.CutSuffix(e.Name(), ".txt"); ok && stage != "README" && !slices.Contains(stages, stage) {
			stray = append(stray, e.Name())
		}
	}
	return stray
}

// load adds the lines of a stage's file, if there is one.
func (p Published) load(tree fs.FS, stage string) error {
	info, err := fs.Lstat(tree, digestsFile(stage))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("reading digests: %w", err)
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("reading digests: opening %q: %s", digestsFile(stage), disk.IsLink)
	case !info.Mode().IsRegular():
		return fmt.Errorf("reading digests: %s is not a regular file", digestsFile(stage))
	}
	f, err := tree.Open(digestsFile(stage))
	if err != nil {
		return fmt.Errorf("reading digests: %w", err)
	}
	defer f.Close()
	return p.read(f, stage)
}

// WriteDigests makes the tree's digests/ list exactly p: one file for each stage
// with outputs, sorted by name as bytes, mode 0644 (upstream: src/digests.py). It
// does not touch a file that would change only its line ends.
func (s *Store) WriteDigests(p Published) error {
	if s.readOnly != nil {
		return fmt.Errorf("writing digests: %w", s.readOnly)
	}
	files, err := p.format()
	if err != nil {
		return fmt.Errorf("writing digests: %w", err)
	}
	folder := filepath.Join(s.tree, "digests")
	if err := ensureOut(folder); err != nil {
		return fmt.Errorf("writing digests: %w", err)
	}
	for _, stage := range stages {
		if err := s.writeStage(filepath.Join(s.tree, digestsFile(stage)), files[stage]); err != nil {
			return fmt.Errorf("writing digests: %w", err)
		}
	}
	return nil
}

func (s *Store) writeStage(path string, data []byte) error {
	old, err := disk.ReadFile(path, digestsLimit)
	switch {
	case err == nil && bytes.Equal(plainLines(old), data) && data != nil:
		return nil
	case data != nil:
		return disk.WriteFile(path, data, 0o644, s.Dir("tmp"))
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return errors.Join(os.Remove(path), disk.SyncDir(filepath.Dir(path)))
}

// plainLines ends every line with a newline alone, and drops empty lines.
func plainLines(data []byte) []byte {
	var plain []byte
	for line := range bytes.Lines(data) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			plain = append(append(plain, line...), '\n')
		}
	}
	return plain
}

// format returns the content of each stage's file.
func (p Published) format() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, output := range slices.SortedFunc(maps.Keys(p), cmp.Compare[string]) {
		stage, _, _ := strings.Cut(output, "-")
		if !slices.Contains(stages, stage) {
			return nil, fmt.Errorf("output %q is of no stage", output)
		}
		if err := CheckName(output); err != nil || p[output].IsZero() {
			return nil, fmt.Errorf("output %q has no digest or no valid name", output)
		}
		files[stage] = fmt.Appendf(files[stage], "%s %s\n", p[output].Hex(), output)
	}
	return files, nil
}
