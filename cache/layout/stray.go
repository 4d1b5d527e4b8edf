package layout

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// maxStray bounds Layout.Stray: a foreign folder may hold a million files.
const maxStray = 8

// StrayError says that a layout's folder holds files that no build leaves there.
type StrayError struct{ Paths []string }

func (e *StrayError) Error() string { return fmt.Sprintf("it also holds %q", e.Paths) }

// Strays lists what [Layout.Stray] describes: entries that index.json does not lead to,
// and oci-layout if its bytes are not those that a build writes. It opens nothing but the
// two folders that hold the blobs.
func (r *Reader) Strays(c Contents) ([]string, error) {
	blobs, err := r.Blobs(c)
	if err != nil {
		return nil, err
	}
	folders := map[string]bool{"blobs": true, "blobs/sha256": true, VersionName: false, IndexName: false}
	for _, d := range blobs {
		folders["blobs/sha256/"+d.Digest.Hex()] = false
	}
	if c.OneLevel { // `docker save` also leaves the files of its older formats
		folders["manifest.json"], folders["repositories"] = false, false
	}
	strays := strays{expected: folders}
	if !c.OneLevel && !r.asBuilt {
		strays.add(VersionName)
	}
	parent, err := r.folder.Sub("blobs")
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	err = errors.Join(
		strays.list(r.folder.F, ""),
		strays.list(parent.F, "blobs/"),
		strays.list(r.blobs.F, "blobs/sha256/"))
	return strays.found, err
}

type strays struct {
	expected map[string]bool // path → whether it is a folder
	found    []string        // the first maxStray by name
}

func (s *strays) add(path string) {
	at, _ := slices.BinarySearch(s.found, path)
	s.found = slices.Insert(s.found, at, path)
	s.found = s.found[:min(len(s.found), maxStray)]
}

// list adds the strays of one folder, which it reads some entries at a time.
func (s *strays) list(f *os.File, prefix string) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for {
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			folder, ok := s.expected[prefix+e.Name()]
			if !ok || folder != e.IsDir() || !folder && !e.Type().IsRegular() {
				s.add(prefix + e.Name())
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
