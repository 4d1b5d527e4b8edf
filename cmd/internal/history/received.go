package history

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// maxReceived bounds the objects of a pack that was received. A release of StageX has up to 12,000.
const maxReceived = 200_000

// Received reads the objects of a pack without an index, as a server sends it. Each object was hashed: an object that is
// found is what its hash says. Deltas must name their bases by offset.
type Received struct{ objects *objects }

// OpenReceived reads all of a pack once, within the limits of this package. It keeps the file until Close.
func OpenReceived(name string) (*Received, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	p := &pack{name: name, data: f, index: offsets{}}
	r := &Received{newObjects(nil)}
	r.objects.packs = []*pack{p}
	if err := r.scan(p); err != nil {
		return nil, errors.Join(fmt.Errorf("the pack: %w", err), r.Close())
	}
	return r, nil
}

// Close closes the file.
func (r *Received) Close() error { return r.objects.close() }

// offsets finds objects where a scan met them.
type offsets map[plumbing.Hash]int64

func (o offsets) find(hash plumbing.Hash) (int64, bool, error) {
	at, ok := o[hash]
	return at, ok, nil
}

func (o offsets) close() error { return nil }

// The header of a pack: "PACK", the version and the number of objects, four bytes each (gitformat-pack(5)).
const packHeader = 12

// scan finds the objects of p and their hashes.
func (r *Received) scan(p *pack) error {
	var head [packHeader]byte
	if _, err := p.data.ReadAt(head[:], 0); err != nil || string(head[:8]) != "PACK\x00\x00\x00\x02" {
		return errors.Join(err, fmt.Errorf("it does not begin as a pack of version 2 does: %w", errDamaged))
	}
	count := binary.BigEndian.Uint32(head[8:])
	if count > maxReceived {
		return fmt.Errorf("it has %d objects, more than %d", count, maxReceived)
	}
	at := int64(packHeader)
	for range count {
		next, err := r.add(p, at)
		if err != nil {
			return err
		}
		at = next
	}
	return nil
}

// add notes the object at an offset, and returns where the next one begins.
func (r *Received) add(p *pack, at int64) (next int64, err error) {
	e, err := p.entry(at)
	if err != nil {
		return 0, err
	}
	if e.kind == plumbing.REFDeltaObject {
		return 0, fmt.Errorf("at %d: a delta that names its base by hash, which was not asked for: %w", at, errDamaged)
	}
	size, err := r.objects.compressedSize(p, e)
	if err != nil {
		return 0, fmt.Errorf("at %d: %w", at, err)
	}
	kind, data, err := r.objects.at(p, at)
	if err != nil {
		return 0, fmt.Errorf("at %d: %w", at, err)
	}
	p.index.(offsets)[plumbing.ComputeHash(kind, data)] = at
	return e.body + size, nil
}

// counter counts the bytes that are read one by one or in pieces. As an io.ByteReader it is read no further than
// what is inflated goes.
type counter struct {
	*bufio.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// compressedSize returns how many bytes of the pack an entry's content takes.
func (o *objects) compressedSize(p *pack, e packEntry) (int64, error) {
	if err := o.spend(e.size); err != nil {
		return 0, err
	}
	in := &counter{Reader: bufio.NewReader(io.NewSectionReader(p.data, e.body, compressed(e.size)))}
	err := o.inflate(in, func(r io.Reader) error {
		n, err := io.Copy(io.Discard, io.LimitReader(r, e.size+1))
		if err == nil && n != e.size {
			err = fmt.Errorf("it is not as long as it says: %w", errDamaged)
		}
		return err
	})
	return in.n, err
}

// Commit returns the commit of a hash, and the tag's object if the hash is that of one.
func (r *Received) Commit(hash string) (*object.Commit, *object.Tag, error) {
	var first *object.Tag
	at := plumbing.NewHash(hash)
	for range maxTags {
		obj, err := r.objects.get(at)
		if err != nil {
			return nil, nil, r.explain(at, err)
		}
		if obj.Type() == plumbing.CommitObject {
			c := new(object.Commit)
			return c, first, c.Decode(obj)
		}
		tag := new(object.Tag)
		if err := tag.Decode(obj); err != nil {
			return nil, nil, fmt.Errorf("object %.12s is neither a commit nor a tag", at)
		}
		if first == nil {
			first = tag
		}
		at = tag.Target
	}
	return nil, nil, fmt.Errorf("the tag %.12s is of a tag of a tag", hash)
}

// Tree returns the folder of a hash.
func (r *Received) Tree(hash plumbing.Hash) (*object.Tree, error) {
	obj, err := r.objects.get(hash)
	if err != nil {
		return nil, r.explain(hash, err)
	}
	t := new(object.Tree)
	return t, t.Decode(obj)
}

// File returns the content of a file, or the target of a link.
func (r *Received) File(hash plumbing.Hash) ([]byte, error) {
	obj, err := r.objects.get(hash)
	if err != nil {
		return nil, r.explain(hash, err)
	}
	if obj.Type() != plumbing.BlobObject {
		return nil, fmt.Errorf("object %.12s is no file", hash)
	}
	in, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(in)
}

func (r *Received) explain(hash plumbing.Hash, err error) error {
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return fmt.Errorf("object %.12s is missing: the server did not send it", hash)
	}
	return fmt.Errorf("object %.12s: %w", hash, err)
}
