package worker

import (
	"context"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"codeberg.org/stagex/sx/buildkit"
)

// verified is a content store that hashes what it gives. containerd believes its
// files, but sx shares them with out/ by hard link, where anything may write to
// them: a layer that was damaged there would become a snapshot here, and the
// snapshot somebody's digest.
type verified struct{ content.Store }

// ReaderAt implements content.Provider.
func (s verified) ReaderAt(ctx context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	file, err := s.Store.ReaderAt(ctx, desc)
	if err != nil {
		return nil, err
	}
	if err := desc.Digest.Validate(); err != nil {
		file.Close()
		return nil, err
	}
	r := &verifiedReader{file: file, want: desc.Digest, hash: desc.Digest.Algorithm().Hash()}
	if r.tailAt = max(0, file.Size()-verifiedTail); r.tailAt > 0 {
		return r, nil
	}
	if err := r.loadTail(); err != nil { // an empty file is never read
		file.Close()
		return nil, err
	}
	return r, nil
}

// verifiedTail is how many bytes at a blob's end are given only once all of the
// blob was hashed. It is more than a reader of an archive leaves unread, and all of
// a manifest or a config.
const verifiedTail = 1 << 20

// verifiedReader hashes the bytes that it gives, in their order, and gives none of
// the tail of a blob that is not what its digest says.
type verifiedReader struct {
	file   content.ReaderAt
	want   digest.Digest
	tailAt int64

	mu     sync.Mutex
	hash   hash.Hash
	hashed int64  // bytes
	tail   []byte // from tailAt on, once all was hashed
	err    error  // of the tail
}

func (r *verifiedReader) Size() int64 { return r.file.Size() }

func (r *verifiedReader) Close() error { return r.file.Close() }

// ReadAt implements io.ReaderAt.
func (r *verifiedReader) ReadAt(p []byte, off int64) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if off < r.tailAt {
		head := p[:min(int64(len(p)), r.tailAt-off)]
		if err := r.hashTo(off); err != nil {
			return 0, err
		}
		if n, err = r.file.ReadAt(head, off); n < len(head) {
			return 0, r.short(err)
		}
		if again := r.hashed - off; again < int64(n) {
			r.hash.Write(head[again:])
			r.hashed = off + int64(n)
		}
		if n == len(p) {
			return n, nil
		}
	}
	if err := r.loadTail(); err != nil {
		return 0, err
	}
	at := off + int64(n) - r.tailAt
	if at < int64(len(r.tail)) {
		n += copy(p[n:], r.tail[at:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// hashTo hashes what lies before off and was not read.
func (r *verifiedReader) hashTo(off int64) error {
	if r.hashed >= off {
		return nil
	}
	n, err := io.Copy(r.hash, io.NewSectionReader(r.file, r.hashed, off-r.hashed))
	if r.hashed += n; r.hashed < off {
		return r.short(err)
	}
	return nil
}

// loadTail hashes all that was not hashed yet, and keeps the tail.
func (r *verifiedReader) loadTail() error {
	if r.tail != nil || r.err != nil {
		return r.err
	}
	if err := r.hashTo(r.tailAt); err != nil {
		return err
	}
	tail := make([]byte, r.file.Size()-r.tailAt)
	if n, err := r.file.ReadAt(tail, r.tailAt); n < len(tail) {
		return r.short(err)
	}
	r.hash.Write(tail)
	if got := digest.NewDigest(r.want.Algorithm(), r.hash); got != r.want {
		r.err = fmt.Errorf("blob %s %s: its digest is %s", r.want, buildkit.DamagedBlob, got)
		return r.err
	}
	r.tail = tail
	return nil
}

// short is the error of a file that ended too early, or cannot be read.
func (r *verifiedReader) short(err error) error {
	if err == nil || err == io.EOF {
		return fmt.Errorf("blob %s %s: it was cut short", r.want, buildkit.DamagedBlob)
	}
	return fmt.Errorf("blob %s %s: %w", r.want, buildkit.DamagedBlob, err)
}
