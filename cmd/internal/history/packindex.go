package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
)

// packIndex finds objects in a pack by its .idx file of version 2 (gitformat-pack(5)). It reads what it needs of the file,
// which may be of any size.
type packIndex struct {
	f      *os.File
	fanout [256]uint32 // of each first byte of a hash: how many objects have it or a smaller one
}

// Where the tables of an index begin, and what an entry of each takes, in bytes.
const (
	fanoutAt  = 8
	namesAt   = fanoutAt + 4*256
	nameSize  = 20
	crcSize   = 4
	smallSize = 4 // of an offset
	largeSize = 8 // of an offset beyond 2 GiB
)

func openIndex(f *os.File) (*packIndex, error) {
	var head [namesAt]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	if !bytes.Equal(head[:fanoutAt], []byte("\xfftOc\x00\x00\x00\x02")) {
		return nil, errors.New("not an index of version 2: run git repack -a -d")
	}
	x := &packIndex{f: f}
	last := uint32(0)
	for i := range x.fanout {
		n := binary.BigEndian.Uint32(head[fanoutAt+4*i:])
		if n < last {
			return nil, fmt.Errorf("its table of first bytes is not in order: %w", errDamaged)
		}
		x.fanout[i], last = n, n
	}
	return x, nil
}

func (x *packIndex) close() error { return x.f.Close() }

// find returns where in the pack an object begins, and false if the pack does not have it.
func (x *packIndex) find(hash plumbing.Hash) (offset int64, found bool, err error) {
	lo, hi := uint32(0), x.fanout[hash[0]]
	if hash[0] > 0 {
		lo = x.fanout[hash[0]-1]
	}
	var name plumbing.Hash
	for lo < hi {
		mid := lo + (hi-lo)/2
		if _, err := x.f.ReadAt(name[:], namesAt+nameSize*int64(mid)); err != nil {
			return 0, false, err
		}
		switch bytes.Compare(hash[:], name[:]) {
		case 0:
			offset, err = x.offset(mid)
			return offset, err == nil, err
		case -1:
			hi = mid
		default:
			lo = mid + 1
		}
	}
	return 0, false, nil
}

// offset returns where the object number i begins.
func (x *packIndex) offset(i uint32) (int64, error) {
	count := int64(x.fanout[255])
	small := namesAt + count*(nameSize+crcSize)
	var b [largeSize]byte
	if _, err := x.f.ReadAt(b[:smallSize], small+smallSize*int64(i)); err != nil {
		return 0, err
	}
	at := binary.BigEndian.Uint32(b[:])
	if at&(1<<31) == 0 {
		return int64(at), nil
	}
	large := small + count*smallSize
	if _, err := x.f.ReadAt(b[:], large+largeSize*int64(at&^(1<<31))); err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b[:]) &^ (1 << 63)), nil
}
