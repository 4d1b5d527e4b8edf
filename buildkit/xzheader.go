package buildkit

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

// xzMagic begins every .xz file, and is all that BuildKit goes by.
const xzMagic = "\xfd7zXZ\x00"

// XzFilter is one of the steps by which a block of an .xz file is unpacked
// (tukaani.org: The .xz File Format, 5.3, and liblzma's api/lzma/bcj.h).
type XzFilter struct {
	Id    uint64
	Props string
}

const (
	XzDelta = 0x03
	XzLZMA2 = 0x21
)

// xzFilterNames are the filters that xz 5.8 knows, by the names of its options.
var xzFilterNames = map[uint64]string{
	XzDelta: "delta", 0x04: "x86", 0x05: "powerpc", 0x06: "ia64", 0x07: "arm", 0x08: "armthumb",
	0x09: "sparc", 0x0a: "arm64", 0x0b: "riscv", XzLZMA2: "lzma2",
}

// ownXZFilters are those that [XZMain] unpacks, with the checks of ownXZChecks.
var (
	ownXZFilters = []uint64{XzDelta, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, XzLZMA2}
	ownXZChecks  = []byte{0x00, 0x01, 0x04, 0x0a} // none, CRC32, CRC64, SHA-256
)

func (f XzFilter) String() string {
	if name := xzFilterNames[f.Id]; name != "" {
		return name
	}
	return fmt.Sprintf("%#x", f.Id)
}

// XzHeader is what the beginning of an .xz file asks of the program that unpacks it.
type XzHeader struct {
	Check   byte
	Filters []XzFilter
}

// errNotXZ says that no program can unpack the file, so that BuildKit copies it
// with every engine.
var errNotXZ = errors.New("not an .xz file that could be unpacked")

// ReadXZHeader reads the header of an .xz file's first stream and that of its first
// block, at most 1036 bytes.
func ReadXZHeader(r io.Reader) (XzHeader, error) {
	var h XzHeader
	b := make([]byte, 13)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, notXZ(err)
	}
	if string(b[:6]) != xzMagic || b[6] != 0 || b[7] > 0x0f || crc32.ChecksumIEEE(b[6:8]) != binary.LittleEndian.Uint32(b[8:]) {
		return h, errNotXZ
	}
	h.Check = b[7]
	if b[12] == 0 { // no block: an empty file
		return h, errNotXZ
	}
	block := make([]byte, int(b[12])*4+4)
	block[0] = b[12]
	if _, err := io.ReadFull(r, block[1:]); err != nil {
		return h, notXZ(err)
	}
	end := len(block) - 4
	if crc32.ChecksumIEEE(block[:end]) != binary.LittleEndian.Uint32(block[end:]) {
		return h, errNotXZ
	}
	return h, h.readFilters(block[1:end])
}

// notXZ keeps an error of reading, and takes an early end for no .xz file.
func notXZ(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNotXZ
	}
	return err
}

// readFilters reads a block header from its flags on.
func (h *XzHeader) readFilters(b []byte) error {
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
			return errNotXZ
		}
		props := make([]byte, size)
		r.Read(props)
		h.Filters = append(h.Filters, XzFilter{id, string(props)})
	}
	return nil
}

// plain holds for what every program named xz unpacks.
func (h XzHeader) plain() bool {
	return len(h.Filters) == 1 && h.Filters[0].Id == XzLZMA2 && slices.Contains(ownXZChecks, h.Check)
}

// Missing names what [XZMain] cannot do of what h asks for; "" where it can all.
func (h XzHeader) Missing() string {
	if !slices.Contains(ownXZChecks, h.Check) {
		return fmt.Sprintf("the integrity check %#x", h.Check)
	}
	var lacks []string
	for _, f := range h.Filters {
		if !slices.Contains(ownXZFilters, f.Id) {
			lacks = append(lacks, f.String())
		}
	}
	if len(lacks) == 0 {
		return ""
	}
	return "the filter " + strings.Join(lacks, " and ")
}

// String names the filters as xz --list does: "x86, lzma2".
func (h XzHeader) String() string {
	var names []string
	for _, f := range h.Filters {
		names = append(names, f.String())
	}
	return strings.Join(names, ", ")
}
