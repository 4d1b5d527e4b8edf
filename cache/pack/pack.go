// Package pack is the binary form of what sx remembers between runs: numbers are
// varints as in encoding/binary, a text has its length before it, a list its count. A
// run with nothing to do reads some thousand such values, for which decoding JSON would
// take most of its time.
//
// It is a leaf that every package may import. Values carry neither names nor types:
// whoever changes what is packed must see to it that older data is not read, as package
// memo does by a heading that names the build of sx.
package pack

import "encoding/binary"

// Packer is what has been packed so far.
type Packer []byte

// Uint packs a number that is not negative.
func (p *Packer) Uint(n uint64) { *p = binary.AppendUvarint(*p, n) }

// Int packs any number.
func (p *Packer) Int(n int64) { *p = binary.AppendVarint(*p, n) }

// Text packs texts, each with its length before it.
func (p *Packer) Text(texts ...string) {
	for _, text := range texts {
		p.Uint(uint64(len(text)))
		*p = append(*p, text...)
	}
}

// List packs the number of texts and then these.
func (p *Packer) List(texts []string) {
	p.Uint(uint64(len(texts)))
	p.Text(texts...)
}

// Bool packs a byte, 1 or 0.
func (p *Packer) Bool(b bool) {
	if b {
		*p = append(*p, 1)
	} else {
		*p = append(*p, 0)
	}
}

// Sum packs the 32 bytes of a hash.
func (p *Packer) Sum(sum [32]byte) { *p = append(*p, sum[:]...) }

// Unpacker reads what a Packer wrote, in the same order. Rest is what is left; texts
// share its bytes. After a failure Rest is empty and every value is zero, so that the
// caller may read all values and look at Failed once.
type Unpacker struct {
	Rest   string
	Failed bool
}

// Done reports whether all was read and nothing failed.
func (u *Unpacker) Done() bool { return !u.Failed && u.Rest == "" }

// Uint reads a number that is not negative.
func (u *Unpacker) Uint() uint64 {
	var n uint64
	for shift := 0; shift < 64 && len(u.Rest) > 0; shift += 7 {
		b := u.Rest[0]
		u.Rest = u.Rest[1:]
		if n |= uint64(b&0x7f) << shift; b < 0x80 {
			return n
		}
	}
	u.fail()
	return 0
}

// Int reads any number. It is zigzag-encoded, as binary.AppendVarint has it.
func (u *Unpacker) Int() int64 {
	n := u.Uint()
	return int64(n>>1) ^ -int64(n&1)
}

// Count reads the count of a list, each element of which takes at least a byte.
func (u *Unpacker) Count() int {
	n := u.Uint()
	if n > uint64(len(u.Rest)) {
		u.fail()
		return 0
	}
	return int(n)
}

// Text reads a text.
func (u *Unpacker) Text() string { return u.Take(u.Uint()) }

// List reads a list of texts, nil if it is empty.
func (u *Unpacker) List() []string {
	n := u.Count()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = u.Text()
	}
	return list
}

// Bool reads what [Packer.Bool] wrote, and fails for any byte but 0 and 1.
func (u *Unpacker) Bool() bool {
	switch u.Take(1) {
	case "\x00":
		return false
	case "\x01":
		return true
	}
	u.fail()
	return false
}

// Sum reads the 32 bytes of a hash.
func (u *Unpacker) Sum() (sum [32]byte) {
	copy(sum[:], u.Take(uint64(len(sum))))
	return sum
}

// Take reads n bytes.
func (u *Unpacker) Take(n uint64) string {
	if n > uint64(len(u.Rest)) {
		u.fail()
		return ""
	}
	text := u.Rest[:n]
	u.Rest = u.Rest[n:]
	return text
}

func (u *Unpacker) fail() { u.Rest, u.Failed = "", true }
