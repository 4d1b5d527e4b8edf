package cache

import (
	"errors"
	"io"
	"os"
	"slices"
)

// maxStray bounds Layout.Stray: whoever made a layout may have put a million files
// into it.
const maxStray = 8

// strays names what a layout's folder holds beyond what index.json leads to, and
// oci-layout where it is not the bytes that a build writes. Nothing is opened but
// the two folders that hold the blobs.
func (r *reader) strays(c contents) ([]string, error) {
	blobs, err := r.reachable(c)
	if err != nil {
		return nil, err
	}
	at := map[string]bool{} // whether it is a folder
	for _, d := range blobs {
		at["blobs/sha256/"+d.Digest.Hex()] = false
	}
	at["oci-layout"], at["index.json"], at["blobs"], at["blobs/sha256"] = false, false, true, true
	if c.OneLevel { // `docker save` also leaves what its older versions read
		at["manifest.json"], at["repositories"] = false, false
	}
	stray := strays{expected: at}
	if !c.OneLevel && !r.asBuilt {
		stray.add("oci-layout")
	}
	parent, err := r.folder.Sub("blobs")
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	err = errors.Join(
		stray.list(r.folder.F, ""),
		stray.list(parent.F, "blobs/"),
		stray.list(r.blobs.F, "blobs/sha256/"))
	return stray.found, err
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

// list looks at a folder's entries, some at a time.
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
