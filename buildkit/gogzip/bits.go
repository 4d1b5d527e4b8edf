package gogzip

import "encoding/binary"

// A bitWriter appends bits to out, the lowest first (RFC 1951, 3.1.1).
type bitWriter struct {
	out   []byte
	bits  uint64 // bits that are not in out yet
	count uint   // number of them
}

// put appends the low count bits of v, at most 48; the other bits of v are 0.
func (w *bitWriter) put(v uint64, count uint) {
	w.bits |= v << w.count
	w.count += count
	if w.count >= 16 {
		n := w.count / 8
		w.out = binary.LittleEndian.AppendUint64(w.out, w.bits)[:len(w.out)+int(n)]
		w.bits >>= 8 * n
		w.count &= 7
	}
}

// align pads the current byte with zeros.
func (w *bitWriter) align() {
	for ; w.count > 0; w.count -= min(w.count, 8) {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}
