package xzheader

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"hash/crc64"
)

// SampleName is the name of the only file in the archive of [Sample].
const SampleName = "f"

// Sample returns [SampleTar] as an .xz file with the filters and the check of h. An xz
// that unpacks it supports both. The data is stored, not compressed, and contains no
// machine code branch, so the filters for machine code leave it unchanged. Sample
// returns nil for a check that it cannot compute.
func Sample(h Header) []byte {
	data := SampleTar()
	for i := len(h.Filters) - 1; i >= 0; i-- { // encoding goes the other way, but only delta changes bytes
		if f := h.Filters[i]; f.ID == Delta && len(f.Props) == 1 {
			data = deltaEncode(data, int(f.Props[0])+1)
		}
	}
	sum, ok := xzCheck(h.Check, SampleTar())
	if !ok {
		return nil
	}
	header := []byte{0, byte(len(h.Filters) - 1)}
	for _, f := range h.Filters {
		header = binary.AppendUvarint(header, f.ID)
		header = binary.AppendUvarint(header, uint64(len(f.Props)))
		header = append(header, f.Props...)
	}
	header = pad4(header)
	header[0] = byte(len(header) / 4)
	block := appendCRC(header)
	block = append(block, 1, byte((len(data)-1)>>8), byte(len(data)-1)) // LZMA2: a stored chunk, dictionary reset
	block = append(append(block, data...), 0)
	unpadded := len(block) + len(sum)
	block = append(pad4(block), sum...)

	index := binary.AppendUvarint([]byte{0, 1}, uint64(unpadded))
	index = appendCRC(pad4(binary.AppendUvarint(index, uint64(len(data)))))
	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	footer = append(footer, 0, h.Check)

	out := append([]byte(xzMagic), appendCRC([]byte{0, h.Check})...)
	out = append(append(out, block...), index...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(footer))
	return append(append(out, footer...), 'Y', 'Z')
}

// SampleTar returns the tar archive that [Sample] compresses.
func SampleTar() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: SampleName, Mode: 0o644, Size: 2, Format: tar.FormatUSTAR})
	w.Write([]byte("a\n"))
	w.Close()
	return b.Bytes()
}

func deltaEncode(data []byte, distance int) []byte {
	out := bytes.Clone(data)
	for i := distance; i < len(data); i++ {
		out[i] -= data[i-distance]
	}
	return out
}

func xzCheck(kind byte, data []byte) (sum []byte, ok bool) {
	switch kind {
	case 0x00:
		return nil, true
	case 0x01:
		return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(data)), true
	case 0x04:
		return binary.LittleEndian.AppendUint64(nil, crc64.Checksum(data, crc64.MakeTable(crc64.ECMA))), true
	case 0x0a:
		s := sha256.Sum256(data)
		return s[:], true
	}
	return nil, false
}

func appendCRC(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func pad4(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
