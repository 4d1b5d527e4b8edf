package cache

import (
	"errors"
	"fmt"
	"slices"
)

// Exact says in what l, which Whole or Verify gave, is not the folder that the
// build of r left, down to the bytes of index.json; nil when it is. Other tools
// than sx read an output from its index.json, so a digest in it proves little
// while anything else lies there too.
func (r Record) Exact(l Layout) error {
	switch {
	case r.Output != l.Output:
		return fmt.Errorf("the record is of output %q", r.Output)
	case !slices.Equal(r.Manifests, l.Manifests):
		return errors.New("it holds other images than those of its record")
	case r.Index.IsZero() || r.Top.IsZero():
		return errors.New("its record does not say what index.json was")
	case l.OneLevel || r.Index != l.Index:
		return errors.New("its image index is not that of its record")
	case r.Top != l.Top:
		return errors.New("its index.json is not that of its record")
	case len(l.Stray) > 0:
		return &StrayError{l.Stray}
	}
	return nil
}

// StrayError says that a layout's folder holds what nothing in it leads to.
type StrayError struct{ Paths []string }

func (e *StrayError) Error() string { return fmt.Sprintf("it also holds %q", e.Paths) }
