package tree

import (
	"errors"
	"fmt"
	"io/fs"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/graph"
)

// AbsentError says that out/ does not hold an output.
type AbsentError struct{ Ref graph.Ref }

func (e *AbsentError) Error() string {
	return fmt.Sprintf("out/ has no %s: build it first (sx build %s)", e.Ref, e.Ref)
}

// Image opens what out/ holds of ref, whole, to be given to someone under the
// version that the tree says: it refuses another version's image. The error is an
// *AbsentError when there is none. Nothing is said of who built it.
func (t *Tree) Image(ref graph.Ref) (*cache.Image, error) {
	img, err := t.Store.Image(ref.String())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &AbsentError{ref}
	}
	if err != nil {
		return nil, fmt.Errorf("%w; sx build %s makes it anew", err, ref)
	}
	want := t.Graph.Output(ref).Tag()
	for _, i := range img.Images {
		if i.Version != "" && i.Version != want {
			img.Close()
			return nil, fmt.Errorf("out/%s is version %q, and the tree's is %q: sx build %s", ref, i.Version, want, ref)
		}
	}
	return img, nil
}
