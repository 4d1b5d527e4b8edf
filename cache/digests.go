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
// the last one without any, and empty lines are ignored. The error is that of the first
// wrong line, and names the file and the line.
func ParseDigests(r io.Reader, stage string) (Published, error) {
	p := Published{}
	if wrong := p.read(r, stage); len(wrong) > 0 {
		return nil, fmt.Errorf("parsing %w", wrong[0])
	}
	return p, nil
}

// read adds the lines of a stage's file, and returns what is wrong with it.
func (p Published) read(r io.Reader, stage string) (wrong []*DigestsError) {
	data, err := io.ReadAll(io.LimitReader(r, digestsLimit+1))
	if err == nil && len(data) > digestsLimit {
		err = fmt.Errorf("it has more than %d bytes", digestsLimit)
	}
	if err != nil {
		return []*DigestsError{wholeFile(stage, err)}
	}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			continue
		}
		output, err := p.readLine(line, stage)
		if err == nil {
			continue
		}
		if len(wrong) == wrongLines {
			return []*DigestsError{wholeFile(stage, fmt.Errorf("more than %d of its lines are wrong; the first is line %d: %w", wrongLines, wrong[0].Line, wrong[0].Err))}
		}
		wrong = append(wrong, &DigestsError{File: digestsFile(stage), Line: n, stage: stage, output: output, Err: err})
	}
	return wrong
}

// readLine adds what a line lists. With an error it returns the output that the line is
// about, "" if that cannot be told.
func (p Published) readLine(line []byte, stage string) (output string, err error) {
	if len(line) > lineLimit {
		return "", fmt.Errorf("the line has more than %d bytes: %.80q…", lineLimit, line)
	}
	digits, output, ok := strings.Cut(string(line), " ")
	if !ok {
		return "", fmt.Errorf("want %q, got %q", "<digest> <output>", line)
	}
	if err := CheckName(output); err != nil {
		return "", err
	}
	d, err := oci.ParseHexDigest(digits)
	if err != nil {
		err = fmt.Errorf("parsing digest %q: %w", digits, err)
	} else if !strings.HasPrefix(output, stage+"-") {
		err = fmt.Errorf("output %q is not of stage %q", output, stage)
	} else if _, twice := p[output]; twice {
		err = fmt.Errorf("output %q is listed twice", output)
	} else {
		p[output] = d
	}
	return output, err
}

func digestsFile(stage string) string { return path.Join("digests", stage+".txt") }

// LoadDigests reads all files of a tree's digests/. A missing file lists nothing. A
// link is refused, as by WriteDigests. Each error is about some outputs, see
// [DigestsError.Concerns]; the digests of others are listed all the same.
func LoadDigests(tree fs.FS) (Published, []*DigestsError) {
	info, err := fs.Lstat(tree, "digests")
	switch {
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return Published{}, []*DigestsError{{File: "digests", Err: errors.New(disk.IsLink)}}
	case err == nil && !info.IsDir():
		return Published{}, []*DigestsError{{File: "digests", Err: errors.New("it is not a folder; move it away, or restore digests/ (git checkout digests)")}}
	}
	all := Published{}
	var wrong []*DigestsError
	for _, stage := range stages {
		wrong = append(wrong, all.load(tree, stage)...)
	}
	for _, w := range wrong {
		if w.output != "" {
			delete(all, w.output)
		}
	}
	return all, wrong
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

// load adds the lines of a stage's file, if there is one. If it cannot be read to its
// end, it adds none.
func (p Published) load(tree fs.FS, stage string) []*DigestsError {
	info, err := fs.Lstat(tree, digestsFile(stage))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
	case info.Mode()&fs.ModeSymlink != 0:
		err = errors.New(disk.IsLink)
	case !info.Mode().IsRegular():
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return []*DigestsError{wholeFile(stage, err)}
	}
	f, err := tree.Open(digestsFile(stage))
	if err != nil {
		return []*DigestsError{wholeFile(stage, err)}
	}
	defer f.Close()
	one := Published{}
	wrong := one.read(f, stage)
	if len(wrong) == 1 && wrong[0].Line == 0 {
		return wrong
	}
	maps.Copy(p, one)
	return wrong
}

// WriteDigests makes the tree's digests/ list exactly p: one file for each stage
// with outputs, sorted by name as bytes, mode 0644 (upstream: src/digests.py). It
// does not touch a file that would change only its line ends, nor one that an error in
// wrong is about.
func (s *folders) WriteDigests(p Published, wrong ...*DigestsError) error {
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
		if slices.ContainsFunc(wrong, func(w *DigestsError) bool { return w.IsIn(stage) }) {
			continue
		}
		if err := s.writeStage(filepath.Join(s.tree, digestsFile(stage)), files[stage]); err != nil {
			return fmt.Errorf("writing digests: %w", err)
		}
	}
	return nil
}

func (s *folders) writeStage(path string, data []byte) error {
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
