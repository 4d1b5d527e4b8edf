package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxEntry is more than the bytes before an object in a pack: type and size, and which base a delta has.
const maxEntry = 64

// packEntry is an object in a pack, as what stands before it says.
type packEntry struct {
	kind plumbing.ObjectType
	size int64 // of the object, or of the delta
	at   int64 // where the entry begins
	body int64 // where its compressed bytes begin
	base int64 // where a delta's base begins
}

// entry reads what stands before the object at offset.
func (p *pack) entry(offset int64) (packEntry, error) {
	var head [maxEntry]byte
	n, err := p.data.ReadAt(head[:], offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return packEntry{}, err
	}
	in := bytes.NewReader(head[:n])
	e := packEntry{at: offset}
	if e.kind, e.size, err = entryHeader(in); err == nil {
		e.base, err = p.baseOf(e, in)
	}
	if err != nil {
		return packEntry{}, fmt.Errorf("at %d: %w: %w", offset, err, errDamaged)
	}
	e.body = offset + in.Size() - int64(in.Len())
	return e, nil
}

// entryHeader reads a type and a size: 4 bits of it, and 7 of each byte that follows one with the highest bit set.
func entryHeader(in io.ByteReader) (plumbing.ObjectType, int64, error) {
	b, err := in.ReadByte()
	if err != nil {
		return 0, 0, err
	}
	kind, size := plumbing.ObjectType(b>>4&7), int64(b&15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if b, err = in.ReadByte(); err != nil {
			return 0, 0, err
		}
		if shift > 53 {
			return 0, 0, errors.New("its size has too many digits")
		}
		size |= int64(b&0x7f) << shift
	}
	if !kind.Valid() {
		return 0, 0, plumbing.ErrInvalidType
	}
	return kind, size, nil
}

// baseOf returns where the base of a delta begins; 0 for what is no delta.
func (p *pack) baseOf(e packEntry, in *bytes.Reader) (int64, error) {
	switch e.kind {
	case plumbing.OFSDeltaObject:
		back, err := baseDistance(in)
		if err == nil && back >= e.at {
			err = errors.New("its base lies before the pack")
		}
		return e.at - back, err
	case plumbing.REFDeltaObject:
		var hash plumbing.Hash
		if _, err := io.ReadFull(in, hash[:]); err != nil {
			return 0, err
		}
		at, found, err := p.index.find(hash)
		if err == nil && !found {
			err = errors.New("the pack does not have its base")
		}
		return at, err
	}
	return 0, nil
}

// baseDistance reads how far before a delta its base begins, in git's own form of a varint.
func baseDistance(in io.ByteReader) (int64, error) {
	back := int64(-1)
	for range 8 {
		b, err := in.ReadByte()
		if err != nil {
			return 0, err
		}
		back = (back+1)<<7 | int64(b&0x7f)
		if b&0x80 == 0 {
			if back == 0 {
				return 0, errors.New("its base is itself")
			}
			return back, nil
		}
	}
	return 0, errors.New("its base lies before the pack")
}
