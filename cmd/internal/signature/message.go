package signature

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// MaxFile is how many bytes a signature file may have, and what is compressed in it.
const MaxFile = 1 << 20

// maxPackets bounds the packets of a message, which has three.
const maxPackets = 8

// A Message is a signed message that was read, and not yet verified.
type Message struct {
	Payload []byte
	Issuer  string    // fingerprint of the key that it says made it, or its key ID if it says no more; upper-case hexadecimal
	Time    time.Time // when it says it was made
	sig     *packet.Signature
}

// The tags of packets, RFC 9580 section 5.
const (
	tagSignature  = 2
	tagOnePass    = 4
	tagCompressed = 8
	tagLiteral    = 11
)

// wrong says of packets that are met in place of a message's what they are.
var wrong = map[uint8]string{
	1: "it is encrypted", 3: "it is encrypted", 9: "it is encrypted", 18: "it is encrypted", 20: "it is encrypted",
	5: "it holds a secret key", 7: "it holds a secret key",
	6: "it holds a key, and no key counts because a message brought it", 14: "it holds a key, and no key counts because a message brought it",
}

// ReadMessage reads a binary OpenPGP message that one key signed: literal data, its signature, compressed or not. Anything
// beside that is an error that says what it found.
func ReadMessage(data []byte) (*Message, error) {
	switch {
	case len(data) > MaxFile:
		return nil, errors.New("it has more than 1 MiB")
	case len(data) == 0:
		return nil, errors.New("it is empty")
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN PGP")):
		return nil, errors.New("it is armored text, which podman and skopeo do not read either: gpg --dearmor makes it binary")
	}
	packets, err := readPackets(data)
	if err != nil {
		return nil, err
	}
	if len(packets) > 0 && packets[0].Tag == tagCompressed {
		if len(packets) > 1 {
			return nil, errors.New("something follows the message")
		}
		if data, err = inflate(packets[0].Contents); err != nil {
			return nil, err
		}
		if packets, err = readPackets(data); err != nil {
			return nil, err
		}
	}
	return assemble(packets)
}

// readPackets splits data into packets.
func readPackets(data []byte) (packets []*packet.OpaquePacket, err error) {
	for r := packet.NewOpaqueReader(bytes.NewReader(data)); ; {
		p, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return packets, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("it is truncated")
		case err != nil:
			return nil, errors.New("it is not an OpenPGP message")
		case len(packets) == maxPackets:
			return nil, fmt.Errorf("it has more than %d packets", maxPackets)
		}
		if what, ok := wrong[p.Tag]; ok {
			return nil, errors.New(what)
		}
		packets = append(packets, p)
	}
}

// inflate returns what a compressed packet holds. Bytes behind the end of the stream are an error: another message might
// stand there.
func inflate(body []byte) ([]byte, error) {
	if len(body) == 0 {
		return nil, errors.New("it is truncated")
	}
	source := bytes.NewReader(body[1:]) // an io.ByteReader, so that nobody reads ahead
	var stream io.Reader
	var err error
	switch packet.CompressionAlgo(body[0]) {
	case packet.CompressionNone:
		return body[1:], nil
	case packet.CompressionZIP:
		stream = flate.NewReader(source)
	case packet.CompressionZLIB:
		stream, err = zlib.NewReader(source)
	case 3:
		stream = bzip2.NewReader(source)
	default:
		err = fmt.Errorf("unknown compression %d", body[0])
	}
	if err != nil {
		return nil, fmt.Errorf("it does not decompress: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(stream, MaxFile+1))
	switch {
	case len(data) > MaxFile:
		return nil, errors.New("it decompresses to more than 1 MiB")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("it is truncated")
	case err != nil:
		return nil, fmt.Errorf("it does not decompress: %w", err)
	case source.Len() > 0:
		return nil, errors.New("something follows the message")
	}
	return data, nil
}

// assemble takes the two orders that RFC 9580 section 10.3 allows: one-pass, literal, signature; signature, literal.
func assemble(packets []*packet.OpaquePacket) (*Message, error) {
	var order strings.Builder
	for _, p := range packets {
		fmt.Fprintf(&order, "%d ", p.Tag)
	}
	switch order.String() {
	case fmt.Sprintf("%d %d %d ", tagOnePass, tagLiteral, tagSignature):
		return newMessage(packets[0], packets[1], packets[2])
	case fmt.Sprintf("%d %d ", tagSignature, tagLiteral):
		return newMessage(nil, packets[1], packets[0])
	}
	return nil, disorder(packets)
}

// disorder says how the packets differ from those of one signed message.
func disorder(packets []*packet.OpaquePacket) error {
	count := map[uint8]int{}
	for _, p := range packets {
		count[p.Tag]++
	}
	switch {
	case count[tagSignature] > 0 && count[tagSignature] == len(packets):
		return errors.New("it is a detached signature: want the signed message itself (gpg --sign)")
	case count[tagLiteral] > 1:
		return errors.New("it holds two messages")
	case count[tagSignature] > 1 || count[tagOnePass] > 1:
		return errors.New("it holds two signatures: want one a file")
	case count[tagLiteral] == 1 && count[tagSignature] == 0 && count[tagOnePass] == 0:
		return errors.New("it is not signed")
	case count[tagCompressed] > 0:
		return errors.New("it is compressed twice")
	case count[tagSignature]+count[tagOnePass]+count[tagLiteral] == len(packets) && count[tagSignature] == 0:
		return errors.New("it is truncated")
	}
	return errors.New("it holds packets that have no place in a signed message")
}

func newMessage(first, body, last *packet.OpaquePacket) (*Message, error) {
	sig, err := parseAs[*packet.Signature](last)
	if err != nil {
		return nil, fmt.Errorf("its signature is not understood: %w", err)
	}
	literal, err := parseAs[*packet.LiteralData](body)
	if err != nil {
		return nil, fmt.Errorf("its content is not understood: %w", err)
	}
	payload, err := io.ReadAll(literal.Body)
	if err != nil {
		return nil, fmt.Errorf("its content is not understood: %w", err)
	}
	m := &Message{Payload: payload, sig: sig, Time: sig.CreationTime.UTC()}
	if first != nil {
		if err := m.matches(first); err != nil {
			return nil, err
		}
	}
	if err := m.fillIssuer(); err != nil {
		return nil, err
	}
	return m, nil
}

// matches holds the one-pass packet against the signature, which it announces.
func (m *Message) matches(first *packet.OpaquePacket) error {
	ops, err := parseAs[*packet.OnePassSignature](first)
	if err != nil {
		return fmt.Errorf("its one-pass packet is not understood: %w", err)
	}
	if ops.SigType != m.sig.SigType || ops.Hash != m.sig.Hash || ops.PubKeyAlgo != m.sig.PubKeyAlgo ||
		(m.sig.IssuerKeyId != nil && *m.sig.IssuerKeyId != ops.KeyId) {
		return errors.New("its one-pass packet announces another signature than it has")
	}
	return nil
}

func (m *Message) fillIssuer() error {
	switch {
	case m.sig.SigType != packet.SigTypeBinary:
		return fmt.Errorf("its signature is of type 0x%02x: want 0x00, over binary data", uint8(m.sig.SigType))
	case len(m.sig.IssuerFingerprint) > 0:
		m.Issuer = fmt.Sprintf("%X", m.sig.IssuerFingerprint)
	case m.sig.IssuerKeyId != nil:
		m.Issuer = fmt.Sprintf("%X", binary.BigEndian.AppendUint64(nil, *m.sig.IssuerKeyId))
	default:
		return errors.New("its signature names no key")
	}
	return nil
}

// parseAs parses p, which was split from its stream.
func parseAs[T packet.Packet](p *packet.OpaquePacket) (zero T, err error) {
	parsed, err := p.Parse()
	if err != nil {
		return zero, plain(err)
	}
	got, ok := parsed.(T)
	if !ok {
		return zero, errors.New("another packet than its tag says")
	}
	return got, nil
}

// plain takes the library's prefix from an error.
func plain(err error) error {
	var unsupported pgp.UnsupportedError
	var structural pgp.StructuralError
	switch {
	case errors.As(err, &unsupported):
		return errors.New(string(unsupported))
	case errors.As(err, &structural):
		return errors.New(string(structural))
	}
	return errors.New(strings.TrimPrefix(err.Error(), "openpgp: "))
}
