package history

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	// maxObject bounds a commit, a tree or a digests file, and in a pack what it is made of: its base, its delta. In bytes.
	// StageX's largest is under 100 KiB.
	maxObject = 16 << 20
	// maxChain bounds the bytes that are inflated for one object: of its base, of each delta and of what each delta makes.
	maxChain = 4 * maxObject
	// maxInflated bounds the bytes that are inflated for all questions to one repository, each piece with pieceCost more.
	// A release of StageX with all its definitions takes under 1 MiB.
	maxInflated = 512 << 20
	pieceCost   = 1 << 10
	// maxHeader is more than the bytes before a loose object: its type, its size, a zero.
	maxHeader = 64
)

var (
	errLarge   = errors.New("the object is too large")
	errDamaged = errors.New("the object is damaged: run git fsck")
)

// objects reads the objects of one git folder, loose and in packs, within the limits above. It believes no length, looks
// at no alternate, and returns nothing that is not what its hash says.
type objects struct {
	root  *os.Root // nil: there are only packs
	packs []*pack  // nil before they are listed
	bases baseCache
	left  int64 // of maxInflated
	zlib  io.ReadCloser
}

func newObjects(root *os.Root) *objects {
	return &objects{root: root, left: maxInflated}
}

// get returns an object, or an error; plumbing.ErrObjectNotFound if the repository does not have it.
func (o *objects) get(hash plumbing.Hash) (*plumbing.MemoryObject, error) {
	kind, data, err := plumbing.InvalidObject, []byte(nil), fs.ErrNotExist
	if o.root != nil {
		kind, data, err = o.loose(hash)
	}
	if errors.Is(err, fs.ErrNotExist) {
		kind, data, err = o.packed(hash)
	}
	if err != nil {
		return nil, err
	}
	if plumbing.ComputeHash(kind, data) != hash {
		return nil, fmt.Errorf("its content has another hash: %w", errDamaged)
	}
	obj := new(plumbing.MemoryObject)
	obj.SetType(kind)
	_, err = obj.Write(data)
	return obj, err
}

// loose reads an object that is a file of its own: zlib around "<type> <size>", a zero and the content.
func (o *objects) loose(hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	name := hash.String()
	f, err := readable(o.root, "objects/"+name[:2]+"/"+name[2:], compressed(maxHeader+maxObject))
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	var kind plumbing.ObjectType
	var data []byte
	err = o.inflate(f, func(r io.Reader) error {
		in := bufio.NewReader(io.LimitReader(r, maxHeader+maxObject+1))
		var size int64
		if kind, size, err = looseHeader(in); err != nil {
			return err
		}
		data, err = o.exactly(in, size)
		return err
	})
	return kind, data, err
}

// looseHeader reads what stands before a loose object.
func looseHeader(in *bufio.Reader) (plumbing.ObjectType, int64, error) {
	head, err := in.Peek(maxHeader)
	end := bytes.IndexByte(head, 0)
	if end < 0 {
		if err == nil || errors.Is(err, io.EOF) {
			err = fmt.Errorf("it does not begin as an object does: %w", errDamaged)
		}
		return 0, 0, err
	}
	name, digits, _ := bytes.Cut(head[:end], []byte(" "))
	kind, err := plumbing.ParseObjectType(string(name))
	size, serr := strconv.ParseUint(string(digits), 10, 63)
	if err != nil || serr != nil || !kind.Valid() || kind.IsDelta() {
		return 0, 0, fmt.Errorf("it does not begin as an object does: %w", errDamaged)
	}
	_, err = in.Discard(end + 1)
	return kind, int64(size), err
}

// inflate calls read with what f's bytes become.
func (o *objects) inflate(f io.Reader, read func(io.Reader) error) error {
	var err error
	if o.zlib == nil {
		o.zlib, err = zlib.NewReader(f)
	} else {
		err = o.zlib.(zlib.Resetter).Reset(f, nil)
	}
	if err == nil {
		err = read(o.zlib)
	}
	if corrupt(err) {
		err = fmt.Errorf("%w: %w", err, errDamaged)
	}
	return err
}

// corrupt reports that err is of bytes that are not what zlib wrote.
func corrupt(err error) bool {
	var at flate.CorruptInputError
	return errors.As(err, &at) || errors.Is(err, zlib.ErrHeader) || errors.Is(err, zlib.ErrChecksum) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// exactly reads all of r, which must be size bytes.
func (o *objects) exactly(r io.Reader, size int64) ([]byte, error) {
	if err := o.spend(size); err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, fmt.Errorf("it is longer than it says: %w", errDamaged))
	}
	return data, nil
}

// spend takes size bytes from what may be inflated.
func (o *objects) spend(size int64) error {
	if size > maxObject {
		return errLarge
	}
	if o.left -= size + pieceCost; o.left < 0 {
		return fmt.Errorf("the repository's objects inflate to more than %d bytes, which is more than its history takes: run git gc", int64(maxInflated))
	}
	return nil
}

// compressed is more than the bytes that size bytes take at zlib's worst.
func compressed(size int64) int64 { return size + size/8 + 1024 }

func (o *objects) close() error {
	var err error
	for _, p := range o.packs {
		err = errors.Join(err, p.close())
	}
	return err
}
