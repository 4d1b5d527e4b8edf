package signature

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// MaxFiles is how many signature files of one digest are read.
const MaxFiles = 64

// filePrefix begins the name of a signature file; a number from 1 follows.
const filePrefix = "signature-"

// ImagePath returns where the signatures of an image lie below a lookaside address or a signatures folder:
// "stagex/core-musl@sha256=<hex>".
func ImagePath(repository, digest string) string {
	return repository + "@sha256=" + digest
}

// FileName returns "signature-<n>".
func FileName(n int) string { return filePrefix + strconv.Itoa(n) }

// places are where a folder may hold signatures: itself, or a checkout that has them inside.
var places = []string{".", "signatures"}

// ReadFiles returns the signature files of an image in a signatures folder, by number. Those beyond MaxFiles are one File
// that says so. If there is no folder for the image, there are none.
func ReadFiles(folder fs.FS, repository, digest string) ([]File, error) {
	var files []File
	for _, place := range places {
		dir := path.Join(place, ImagePath(repository, digest))
		numbers, err := numbersIn(folder, dir)
		if err != nil {
			return nil, err
		}
		for _, n := range numbers {
			if len(files) == MaxFiles {
				return append(files, tooMany(n)), nil
			}
			data, err := readFile(folder, path.Join(dir, FileName(n)))
			files = append(files, File{Name: FileName(n), Data: data, Err: err})
		}
	}
	return files, nil
}

func tooMany(n int) File {
	return File{Name: FileName(n), Err: fmt.Errorf("it was not read, nor was any after it: %d files a digest are", MaxFiles)}
}

// numbersIn returns the numbers of the signature files in dir, sorted; none if it does not exist.
func numbersIn(folder fs.FS, dir string) (numbers []int, err error) {
	entries, err := fs.ReadDir(folder, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if n, ok := fileNumber(e.Name()); ok {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, cmp.Compare[int])
	return numbers, err
}

func fileNumber(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, filePrefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0 && FileName(n) == name
}

// NextNumber returns the number that a new signature of the image gets in a signatures folder: one more than the greatest.
func NextNumber(folder fs.FS, repository, digest string) (int, error) {
	numbers, err := numbersIn(folder, ImagePath(repository, digest))
	if len(numbers) == 0 {
		return 1, err
	}
	return numbers[len(numbers)-1] + 1, err
}

// readFile reads a regular file of at most MaxFile bytes.
func readFile(folder fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(folder, name)
	switch {
	case err != nil:
		return nil, plainPath(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > MaxFile:
		return nil, errors.New("it has more than 1 MiB")
	}
	f, err := folder.Open(name)
	if err != nil {
		return nil, plainPath(err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxFile+1))
}

// plainPath takes the path from an error, which stands beside it.
func plainPath(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("it cannot be read: %w", at.Err)
	}
	return err
}

// SplitImagePath is ImagePath backwards.
func SplitImagePath(name string) (repository, digest string, err error) {
	repository, digest, ok := strings.Cut(name, "@sha256=")
	if !ok || repository == "" || !isDigest(digest) {
		return "", "", fmt.Errorf("want <repository>@sha256=<digest>, not %.200q", name)
	}
	return repository, digest, nil
}

// WriteFile puts a new signature of img into a signatures folder, under the next number, and returns its path there. It
// replaces no file, also not one that somebody else writes at the same time.
func WriteFile(folder *os.Root, img Image, data []byte) (string, error) {
	dir := ImagePath(img.Repository, img.Digest)
	if err := folder.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for range MaxFiles {
		n, err := NextNumber(folder.FS(), img.Repository, img.Digest)
		if err != nil {
			return "", err
		}
		name := path.Join(dir, FileName(n))
		err = create(folder, name, data)
		if !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
	return "", fmt.Errorf("%s: others keep writing there", dir)
}

// create writes a file aside, syncs it and links it to a name that must be free.
func create(folder *os.Root, name string, data []byte) error {
	aside := path.Join(path.Dir(name), ".tmp-"+rand.Text())
	f, err := folder.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer folder.Remove(aside)
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := folder.Link(aside, name); err != nil {
		return err
	}
	d, err := folder.Open(path.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
