// Package lookaside finds the signature files of an image: in a signatures folder or a checkout that has one, or below the
// address of a lookaside store. It refuses to judge them, plain http, and links that lead out of the folder.
package lookaside

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/fetch"
)

// A Source has signature files.
type Source struct {
	name      string
	root      *os.Root         // of a folder
	documents *fetch.Documents // of a store
}

// Open opens a folder, or prepares to ask the store at an https address, which is not asked yet.
func Open(from, userAgent string) (*Source, error) {
	if strings.Contains(from, "://") {
		if err := fetch.CheckDocumentURL(from); err != nil {
			return nil, err
		}
		return &Source{name: strings.TrimSuffix(from, "/"), documents: fetch.NewDocuments(userAgent)}, nil
	}
	root, err := os.OpenRoot(from)
	if err != nil {
		return nil, fmt.Errorf("opening the signatures folder: %w", err)
	}
	return &Source{name: from, root: root}, nil
}

// Close lets go of the folder, or of connections.
func (s *Source) Close() error {
	if s.documents != nil {
		s.documents.Close()
		return nil
	}
	return s.root.Close()
}

// String returns the folder or the address.
func (s *Source) String() string { return s.name }

// FS is the folder, nil for a store.
func (s *Source) FS() fs.FS {
	if s.root == nil {
		return nil
	}
	return s.root.FS()
}

// Files returns the signature files of an image, none if it has none. An error means that there may be others.
func (s *Source) Files(ctx context.Context, repository, digest string) ([]signature.File, error) {
	if s.root != nil {
		return signature.ReadFiles(s.root.FS(), repository, digest)
	}
	var files []signature.File
	for n := 1; n <= signature.MaxFiles; n++ { // as containers-registries.d(5) has it: numbers from 1, up to a gap
		name := signature.FileName(n)
		data, err := s.documents.Get(ctx, s.name+"/"+signature.ImagePath(repository, digest)+"/"+name)
		if fetch.NoDocument(err) {
			break
		}
		if err != nil {
			return files, err
		}
		files = append(files, signature.File{Name: name, Data: data})
	}
	return files, nil
}
