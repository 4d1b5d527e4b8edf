package history_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/history"
)

// Types of objects in a pack.
const (
	packedCommit = 1
	offsetDelta  = 6
	refDelta     = 7
)

// crafted is a pack made by hand: it says what its maker wants.
type crafted struct {
	pack  bytes.Buffer
	zlib  *zlib.Writer
	index map[string]uint64 // offsets by the raw hash
}

func newCrafted() *crafted {
	w, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed) // the level exists
	c := &crafted{zlib: w, index: map[string]uint64{}}
	c.pack.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x01")
	return c
}

// name is the raw hash that the index has for the object i.
func name(i int) string { return fmt.Sprintf("%020d", i) }

// add appends an object whose header says size, whatever the body is, and returns its offset. base names a delta's base:
// how far back it lies, or its hash.
func (c *crafted) add(i, kind int, size uint64, base, body string) int {
	at := c.pack.Len()
	c.index[name(i)] = uint64(at)
	first := byte(kind<<4) | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		c.pack.WriteByte(first | 0x80)
		first = byte(size & 0x7f)
	}
	c.pack.WriteByte(first)
	c.pack.WriteString(base)
	c.zlib.Reset(&c.pack)
	io.WriteString(c.zlib, body)
	c.zlib.Close()
	return at
}

// back is a base that lies so many bytes before.
func back(n int) string {
	out := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		out = append(out, 0x80|byte(n&0x7f))
	}
	slices.Reverse(out)
	return string(out)
}

// repeat is a delta that copies all of a base of size bytes so many times.
func repeat(size, times int) string {
	out := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(size)), uint64(size*times))
	for range times {
		for at := 0; at < size; at += 0xff0000 {
			n := min(size-at, 0xff0000)
			out = append(out, 0xff, byte(at), byte(at>>8), byte(at>>16), byte(at>>24), byte(n), byte(n>>8), byte(n>>16))
		}
	}
	return string(out)
}

// write stores the pack in a repository whose HEAD is the object 1.
func (c *crafted) write(r repo) {
	r.t.Helper()
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range c.index {
			if !yield(n) {
				return
			}
		}
	})
	index := bytes.NewBufferString("\xfftOc\x00\x00\x00\x02")
	var fanout [256]uint32
	for _, n := range names {
		for b := int(n[0]); b < 256; b++ {
			fanout[b]++
		}
	}
	r.must(binary.Write(index, binary.BigEndian, fanout))
	for _, n := range names {
		index.WriteString(n)
	}
	for range names {
		r.must(binary.Write(index, binary.BigEndian, crc32.ChecksumIEEE(nil)))
	}
	var far []uint64
	for _, n := range names {
		at := uint32(c.index[n])
		if c.index[n] >= 1<<31 {
			at = uint32(1<<31 | len(far))
			far = append(far, c.index[n])
		}
		r.must(binary.Write(index, binary.BigEndian, at))
	}
	r.must(binary.Write(index, binary.BigEndian, far))
	index.WriteString("\x124Vx\x90\x124Vx\x90\x124Vx\x90\x124Vx\x90") // the pack's checksum, which its name is too
	sum := sha1.Sum(index.Bytes())
	index.Write(sum[:])
	r.write(".git/objects/pack/pack-1234567890123456789012345678901234567890.pack", c.pack.String())
	r.write(".git/objects/pack/pack-1234567890123456789012345678901234567890.idx", index.String())
	r.write(".git/HEAD", fmt.Sprintf("%x\n", name(1)))
}

// zeros is large, and little when it is compressed.
func zeros(n int) string { return strings.Repeat("\x00", n) }

// TestPackBombs: what a pack says, and what little of it becomes, is neither believed nor kept.
func TestPackBombs(t *testing.T) {
	const mb = 1 << 20
	for _, tt := range []struct {
		name, want string
		make       func(*crafted)
	}{
		{"an object of 3 GB", "too large", func(c *crafted) { c.add(1, packedCommit, 3<<30, "", "tree") }},
		{"an object of 2^60", "too large", func(c *crafted) { c.add(1, packedCommit, 1<<56, "", "tree") }},
		{"a size without an end", "too many digits", func(c *crafted) {
			c.pack.WriteString(strings.Repeat("\xff", 100))
			c.index[name(1)] = 12
		}},
		{"more than it says", "longer than it says", func(c *crafted) { c.add(1, packedCommit, 100, "", zeros(120*mb)) }},
		{"less than it says", "damaged", func(c *crafted) { c.add(1, packedCommit, 15*mb, "", "tree") }},
		{"a large base", "too large", func(c *crafted) {
			base := c.add(2, packedCommit, 120*mb, "", zeros(120*mb))
			delta := "\x80\x80\x80\x3c\x0a\x0atree000000"
			c.add(1, offsetDelta, uint64(len(delta)), back(c.pack.Len()-base), delta)
		}},
		{"a large delta", "too large", func(c *crafted) {
			base := c.add(2, packedCommit, 10, "", zeros(10))
			c.add(1, offsetDelta, 120*mb, back(c.pack.Len()-base), zeros(120*mb))
		}},
		{"a delta that makes much of little", "too large", func(c *crafted) {
			base := c.add(2, packedCommit, mb, "", zeros(mb))
			delta := repeat(mb, 120)
			c.add(1, offsetDelta, uint64(len(delta)), back(c.pack.Len()-base), delta)
		}},
		{"many large deltas", "too large", func(c *crafted) {
			base := c.add(1000, packedCommit, 15*mb, "", zeros(15*mb))
			delta := repeat(15*mb, 1)
			for i := 999; i > 0; i-- {
				base = c.add(i, offsetDelta, uint64(len(delta)), back(c.pack.Len()-base), delta)
			}
		}},
		{"deltas without an end", "more than 4095 deltas", func(c *crafted) {
			base := c.add(6000, packedCommit, 10, "", zeros(10))
			delta := repeat(10, 1)
			for i := 5999; i > 0; i-- {
				base = c.add(i, offsetDelta, uint64(len(delta)), back(c.pack.Len()-base), delta)
			}
		}},
		{"deltas in a circle", "more than 4095 deltas", func(c *crafted) {
			delta := repeat(10, 1)
			c.add(1, refDelta, uint64(len(delta)), name(2), delta)
			c.add(2, refDelta, uint64(len(delta)), name(1), delta)
		}},
		{"a base before the pack", "its base lies before the pack", func(c *crafted) { c.add(1, offsetDelta, 10, back(5000), zeros(10)) }},
		{"a base of itself", "its base is itself", func(c *crafted) { c.add(1, offsetDelta, 10, back(0), zeros(10)) }},
		{"an offset behind the end", "damaged", func(c *crafted) { c.index[name(1)] = 1 << 40 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, c := published(t), newCrafted()
			tt.make(c)
			c.write(r)
			limit := uint64(100 * mb)
			if tt.name == "many large deltas" {
				limit = 200 * mb // of 15 GB; the race detector lets pools lose buffers
			}
			wantNoneWithin(t, r.dir, tt.want, limit)
		})
	}
}

// wantNoneWithin is wantNone, and bounds the bytes that are allocated meanwhile.
func wantNoneWithin(t *testing.T, dir, want string, limit uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	wantNone(t, dir, want)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > limit {
		t.Errorf("%d bytes were allocated, more than %d", n, limit)
	}
}

// TestIndexBombs: an index is read in pieces, whatever its size and what it says of it.
func TestIndexBombs(t *testing.T) {
	many := func(b []byte) []byte { // all of them begin with the first byte of name
		return append(append(b[:8], zeros(4*'0')...), bytes.Repeat([]byte{0xff}, 4*(256-'0'))...)
	}
	for name, tt := range map[string]struct {
		edit func([]byte) []byte
		size int64
		want string
	}{
		"4 billion objects":     {many, 0, "EOF"},
		"4 billion, and sparse": {many, 100 << 30, "is missing"},
		"objects out of order":  {func(b []byte) []byte { b[8] = 1; return b }, 0, "not in order"},
		"cut in its table":      {func(b []byte) []byte { return b[:500] }, 0, "EOF"},
		"of version 1":          {func(b []byte) []byte { return b[8:] }, 0, "not an index of version 2"},
	} {
		t.Run(name, func(t *testing.T) {
			r, c := published(t), newCrafted()
			c.add(1, packedCommit, 4, "", "tree")
			c.write(r)
			index := r.path(".git/objects/pack/pack-1234567890123456789012345678901234567890.idx")
			data, err := os.ReadFile(index)
			r.must(err)
			r.must(os.WriteFile(index, tt.edit(data), 0o644))
			if tt.size > 0 {
				r.must(os.Truncate(index, tt.size))
			}
			wantNoneWithin(t, r.dir, tt.want, 1<<20)
		})
	}
}

// TestReferenceBombs: neither HEAD nor a list of references is read whole if it is larger than any.
func TestReferenceBombs(t *testing.T) {
	for name, tt := range map[string]struct {
		file, text string
		size       int64
		want       string
	}{
		"HEAD":        {".git/HEAD", "ref: refs/heads/", 1 << 30, "larger than"},
		"a branch":    {".git/refs/heads/main", "x", 1 << 30, "HEAD"},
		"packed-refs": {".git/packed-refs", "# pack-refs\n", 1 << 40, "larger than"},
		"shallow":     {".git/shallow", "", 1 << 40, "larger than"},
		"config":      {".git/config", "", 1 << 40, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			r := published(t)
			if name == "packed-refs" {
				r.remove(".git/refs/heads/main")
			}
			r.write(tt.file, tt.text)
			r.must(os.Truncate(r.path(tt.file), tt.size))
			wantNoneWithin(t, r.dir, tt.want, 1<<20)
		})
	}
}

// TestRealDeltas: what git packs, with bases by distance and by hash, in long chains, at offsets of both forms, is read as git reads it; a pack that
// is damaged counts for nothing if another one is whole.
func TestRealDeltas(t *testing.T) {
	for _, byDistance := range []string{"true", "false"} {
		r := newRepo(t)
		random := rand.New(rand.NewPCG(1, 2))
		var commits, texts []string
		text := ""
		for i := range 40 {
			for range 20 {
				text += fmt.Sprintf("%064x core-%d\n", random.Uint64(), random.IntN(1000))
			}
			r.write("digests/core.txt", text)
			commits, texts = append(commits, r.commit(fmt.Sprint(i))), append(texts, text)
		}
		r.git("-c", "repack.usedeltabaseoffset="+byDistance, "-c", "pack.depth=4095", "repack", "-q", "-a", "-d", "-f", "--window=60", "--depth=100")
		if got := r.git("count-objects", "-v"); !strings.Contains(got, "count: 0\n") {
			t.Fatal(got)
		}
		if byDistance == "false" {
			packs, err := filepath.Glob(r.path(".git/objects/pack/*.pack"))
			if err != nil || len(packs) != 1 {
				t.Fatal(packs, err)
			}
			r.git("index-pack", "--index-version=2,0x40", packs[0]) // with offsets of 64 bits
		}
		r.write(".git/objects/pack/pack-bad.idx", "\xfftOc\x00\x00\x00\x02")
		for i, c := range commits {
			h, err := history.OpenAt(r.dir, c)
			if err != nil {
				t.Fatal(err)
			}
			got, err := h.PublishedDigests("core.txt")
			if err != nil || string(got) != texts[i] || h.PublishedAt().Hash != c {
				t.Errorf("%s: %v", c, err)
			}
			r.must(h.Close())
		}
	}
}
