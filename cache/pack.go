package cache

import "encoding/binary"

// What a memory keeps is packed: texts with their length before them, numbers as
// varints. It is read where reading JSON would take most of a run that does
// nothing.

func appendText(buf []byte, text string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(text))), text...)
}

// unpacker takes values off the front of a text; texts share its bytes. Once it
// failed it yields zeros.
type unpacker struct {
	text   string
	failed bool
}

func (u *unpacker) uint() uint64 {
	var n uint64
	for shift := 0; shift < 64 && len(u.text) > 0; shift += 7 {
		b := u.text[0]
		u.text = u.text[1:]
		if n |= uint64(b&0x7f) << shift; b < 0x80 {
			return n
		}
	}
	u.fail()
	return 0
}

// int is zigzag-encoded, as binary.AppendVarint has it.
func (u *unpacker) int() int64 {
	n := u.uint()
	return int64(n>>1) ^ -int64(n&1)
}

func (u *unpacker) string() string { return u.take(u.uint()) }

// count is of what takes at least a byte each.
func (u *unpacker) count() int {
	n := u.uint()
	if n > uint64(len(u.text)) {
		u.fail()
		return 0
	}
	return int(n)
}

func (u *unpacker) sum() (sum [32]byte) {
	copy(sum[:], u.take(uint64(len(sum))))
	return sum
}

func (u *unpacker) take(n uint64) string {
	if n > uint64(len(u.text)) {
		u.fail()
		return ""
	}
	text := u.text[:n]
	u.text = u.text[n:]
	return text
}

func (u *unpacker) fail() { u.text, u.failed = "", true }
