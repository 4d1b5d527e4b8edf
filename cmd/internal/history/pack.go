package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

const (
	// maxPacks bounds the packs of a repository. git gc leaves one, and runs by itself when there are 50.
	maxPacks = 1000
	// maxDepth bounds the deltas that are applied one on another. git makes chains of 50, and of 4,095 at most.
	maxDepth = 4095
	// maxBases bounds the bytes of bases that are kept for the next object.
	maxBases = 32 << 20
	// maxPack bounds nothing but absurdity: an index and a pack are read in pieces.
	maxPack = 1 << 50
)

// pack is a file of objects, many of them deltas of others. Its files are opened when they are needed.
type pack struct {
	name  string // "objects/pack/pack-<hash>", without an extension
	index packFinder
	data  *os.File
}

// packFinder finds where in a pack an object begins; false if the pack does not have it.
type packFinder interface {
	find(hash plumbing.Hash) (offset int64, found bool, err error)
	close() error
}

// packed reads an object from the first pack that has it whole.
func (o *objects) packed(hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	if err := o.list(); err != nil {
		return 0, nil, err
	}
	failed := plumbing.ErrObjectNotFound
	for _, p := range o.packs {
		kind, data, err := o.fromPack(p, hash)
		switch {
		case err == nil:
			return kind, data, nil
		case !errors.Is(err, plumbing.ErrObjectNotFound):
			failed = fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return 0, nil, failed
}

// list finds the packs, once.
func (o *objects) list() error {
	if o.packs != nil {
		return nil
	}
	o.packs = []*pack{}
	dir, err := o.root.Open("objects/pack")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	// Each pack has up to five files: .pack, .idx, .rev, .bitmap, .mtimes.
	names, err := dir.Readdirnames(5*maxPacks + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for _, name := range names {
		if base, ok := strings.CutSuffix(name, ".idx"); ok {
			o.packs = append(o.packs, &pack{name: "objects/pack/" + base})
		}
	}
	if len(names) > 5*maxPacks || len(o.packs) > maxPacks {
		o.packs = nil
		return fmt.Errorf("the repository has more than %d packs: run git gc", maxPacks)
	}
	return nil
}

func (o *objects) fromPack(p *pack, hash plumbing.Hash) (plumbing.ObjectType, []byte, error) {
	if err := p.openIndex(o.root); err != nil {
		return 0, nil, err
	}
	at, found, err := p.index.find(hash)
	if err != nil {
		return 0, nil, fmt.Errorf("reading its index: %w", err)
	}
	if !found {
		return 0, nil, plumbing.ErrObjectNotFound
	}
	if err := p.openData(o.root); err != nil {
		return 0, nil, err
	}
	return o.at(p, at)
}

func (p *pack) openIndex(root *os.Root) error {
	if p.index != nil {
		return nil
	}
	f, err := readable(root, p.name+".idx", maxPack)
	if err != nil {
		return err
	}
	x, err := openIndex(f)
	if err != nil {
		return errors.Join(fmt.Errorf("reading its index: %w", err), f.Close())
	}
	p.index = x
	return nil
}

func (p *pack) openData(root *os.Root) (err error) {
	if p.data == nil {
		p.data, err = readable(root, p.name+".pack", maxPack)
	}
	return err
}

func (p *pack) close() error {
	var err error
	if p.index != nil {
		err = p.index.close()
	}
	if p.data != nil {
		err = errors.Join(err, p.data.Close())
	}
	return err
}

// at returns the object that begins at offset: it follows the deltas to an object that is whole, by what stands before
// each, and then makes one from the other. No more is kept than one base, one delta and what they make.
func (o *objects) at(p *pack, offset int64) (plumbing.ObjectType, []byte, error) {
	var deltas []packEntry
	for {
		if kept, ok := o.bases.kept[baseKey{p, offset}]; ok {
			return o.apply(p, kept, deltas)
		}
		e, err := p.entry(offset)
		switch {
		case err != nil:
			return 0, nil, err
		case !e.kind.IsDelta():
			data, err := o.body(p, e)
			if err != nil {
				return 0, nil, err
			}
			return o.apply(p, o.bases.keep(baseKey{p, offset}, content{e.kind, data}), deltas)
		case len(deltas) == maxDepth:
			return 0, nil, fmt.Errorf("more than %d deltas are one on another: run git repack -a -d -f", maxDepth)
		}
		deltas = append(deltas, e)
		offset = e.base
	}
}

// apply makes an object from a base by deltas, the last first.
func (o *objects) apply(p *pack, from content, deltas []packEntry) (plumbing.ObjectType, []byte, error) {
	left := int64(maxChain)
	for i := len(deltas) - 1; i >= 0; i-- {
		delta, err := o.body(p, deltas[i])
		if err != nil {
			return 0, nil, err
		}
		size, err := deltaMakes(delta)
		if err != nil {
			return 0, nil, err
		}
		if left -= size + int64(len(delta)); left < 0 {
			return 0, nil, errLarge
		}
		if err := o.spend(size); err != nil {
			return 0, nil, err
		}
		data, err := packfile.PatchDelta(from.data, delta)
		if err != nil {
			return 0, nil, fmt.Errorf("%w: %w", err, errDamaged)
		}
		from = o.bases.keep(baseKey{p, deltas[i].at}, content{from.kind, data})
	}
	return from.kind, from.data, nil
}

// deltaMakes returns the size of the object that a delta makes: its second number; the first is its base's size.
func deltaMakes(delta []byte) (int64, error) {
	_, n := binary.Uvarint(delta)
	if n > 0 {
		size, m := binary.Uvarint(delta[n:])
		if m > 0 && size <= maxObject {
			return int64(size), nil
		}
		if m > 0 {
			return 0, errLarge
		}
	}
	return 0, fmt.Errorf("a delta without its sizes: %w", errDamaged)
}

// body inflates an entry.
func (o *objects) body(p *pack, e packEntry) (data []byte, err error) {
	if e.size > maxObject {
		return nil, errLarge
	}
	err = o.inflate(io.NewSectionReader(p.data, e.body, compressed(e.size)), func(r io.Reader) error {
		data, err = o.exactly(r, e.size)
		return err
	})
	return data, err
}

// content is an object's type and bytes.
type content struct {
	kind plumbing.ObjectType
	data []byte
}

// baseKey names an object by its place.
type baseKey struct {
	pack *pack
	at   int64
}

// baseCache keeps objects of packs, most of which are bases of others.
type baseCache struct {
	kept map[baseKey]content
	size int64
}

// keep remembers an object and returns it. If there is no room, everything else is forgotten.
func (c *baseCache) keep(key baseKey, obj content) content {
	size := int64(len(obj.data)) + pieceCost
	if c.size += size; c.size > maxBases || c.kept == nil {
		c.kept, c.size = map[baseKey]content{}, size
	}
	c.kept[key] = obj
	return obj
}
