package memo

import "encoding/binary"

// What a memory keeps is packed: texts with their length before them, numbers as
// varints. It is read where reading JSON would take most of a run that does
// nothing.

func AppendText(buf []byte, text string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(text))), text...)
}

// Unpacker takes values off the front of a text; texts share its bytes. Once it
// failed it yields zeros.
type Unpacker struct {
	Rest   string
	Failed bool
}

func (u *Unpacker) uint() uint64 {
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

// Int is zigzag-encoded, as binary.AppendVarint has it.
func (u *Unpacker) Int() int64 {
	n := u.uint()
	return int64(n>>1) ^ -int64(n&1)
}

func (u *Unpacker) Text() string { return u.Take(u.uint()) }

// Count is of what takes at least a byte each.
func (u *Unpacker) Count() int {
	n := u.uint()
	if n > uint64(len(u.Rest)) {
		u.fail()
		return 0
	}
	return int(n)
}

func (u *Unpacker) Sum() (sum [32]byte) {
	copy(sum[:], u.Take(uint64(len(sum))))
	return sum
}

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
