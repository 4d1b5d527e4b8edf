package xzheader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
)

// xzMagic is the first six bytes of every .xz file. BuildKit recognises .xz by them
// alone.
const xzMagic = "\xfd7zXZ\x00"

// Filter is one of the steps that unpack a block of an .xz file
// (tukaani.org: The .xz File Format, 5.3, and liblzma's api/lzma/bcj.h).
type Filter struct {
	ID    uint64
	Props string
}

const (
	Delta = 0x03
	LZMA2 = 0x21
)

// xzFilterNames are the filters that xz 5.8 knows, by the names of its options.
var xzFilterNames = map[uint64]string{
	Delta: "delta", 0x04: "x86", 0x05: "powerpc", 0x06: "ia64", 0x07: "arm", 0x08: "armthumb",
	0x09: "sparc", 0x0a: "arm64", 0x0b: "riscv", LZMA2: "lzma2",
}

// ownXZFilters and ownXZChecks list what embedded.xzMain unpacks.
var (
	ownXZFilters = []uint64{Delta, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, LZMA2}
	ownXZChecks  = []byte{0x00, 0x01, 0x04, 0x0a} // none, CRC32, CRC64, SHA-256
)

func (f Filter) String() string {
	if name := xzFilterNames[f.ID]; name != "" {
		return name
	}
	return fmt.Sprintf("%#x", f.ID)
}

// Header is what an .xz file requires of the program that unpacks it.
type Header struct {
	Check   byte
	Filters []Filter
}

// ErrNotXZ means that no program can unpack the file: every engine copies it.
var ErrNotXZ = errors.New("not an .xz file that could be unpacked")

// Read reads the stream header and the first block header of an .xz file, at most
// 1036 bytes.
func Read(r io.Reader) (Header, error) {
	var h Header
	b := make([]byte, 13)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, notXZ(err)
	}
	if string(b[:6]) != xzMagic || b[6] != 0 || b[7] > 0x0f || crc32.ChecksumIEEE(b[6:8]) != binary.LittleEndian.Uint32(b[8:]) {
		return h, ErrNotXZ
	}
	h.Check = b[7]
	if b[12] == 0 { // no block: an empty file
		return h, ErrNotXZ
	}
	block := make([]byte, int(b[12])*4+4)
	block[0] = b[12]
	if _, err := io.ReadFull(r, block[1:]); err != nil {
		return h, notXZ(err)
	}
	end := len(block) - 4
	if crc32.ChecksumIEEE(block[:end]) != binary.LittleEndian.Uint32(block[end:]) {
		return h, ErrNotXZ
	}
	return h, h.readFilters(block[1:end])
}

// notXZ returns ErrNotXZ if err says that the file is too short, else err.
func notXZ(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrNotXZ
	}
	return err
}

// readFilters parses a block header, without its size byte, into h.Filters.
func (h *Header) readFilters(b []byte) error {
	flags, r := b[0], bytes.NewReader(b[1:])
	number := func() (n uint64) {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			r.Reset(nil)
		}
		return n
	}
	for _, present := range []byte{0x40, 0x80} { // compressed and uncompressed size
		if flags&present != 0 {
			number()
		}
	}
	for range flags&3 + 1 {
		id, size := number(), number()
		if size > uint64(r.Len()) || id == 0 {
			return ErrNotXZ
		}
		props := make([]byte, size)
		r.Read(props)
		h.Filters = append(h.Filters, Filter{id, string(props)})
	}
	return nil
}

// Plain reports whether every program named xz unpacks the file.
func (h Header) Plain() bool {
	return len(h.Filters) == 1 && h.Filters[0].ID == LZMA2 && slices.Contains(ownXZChecks, h.Check)
}

// Missing names the filters of h, or the check, that the xz inside sx
// (embedded.xzMain) does not support; "" if it supports all.
func (h Header) Missing() string {
	if !slices.Contains(ownXZChecks, h.Check) {
		return fmt.Sprintf("the integrity check %#x", h.Check)
	}
	var lacks []string
	for _, f := range h.Filters {
		if !slices.Contains(ownXZFilters, f.ID) {
			lacks = append(lacks, f.String())
		}
	}
	if len(lacks) == 0 {
		return ""
	}
	return "the filter " + strings.Join(lacks, " and ")
}

// String names the filters as xz --list does: "x86, lzma2".
func (h Header) String() string {
	var names []string
	for _, f := range h.Filters {
		names = append(names, f.String())
	}
	return strings.Join(names, ", ")
}
