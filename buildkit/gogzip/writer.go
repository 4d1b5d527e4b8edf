package gogzip

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
)

// mostSegments bounds the memory of a Writer: a segment takes about 1.5 MB.
const mostSegments = 4

// header is the header of a gzip file without a name, a time or a system (RFC 1952,
// 2.3), as compress/gzip writes it.
const header = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

var errClosed = errors.New("gogzip: the writer is closed")

// A Writer compresses what is written to it. Close completes the file. A Writer need
// not be closed. It writes to the underlying writer only in Write and Close,
// although it compresses between them too.
type Writer struct {
	w      io.Writer
	err    error
	begun  bool
	digest uint32 // CRC-32 of what was written
	size   uint32 // its length modulo 1<<32

	chains  *chainTable
	filling *segment
	running []*segment  // oldest first
	turn    chan *coder // passes the coder to the next segment
}

// NewWriter returns a Writer that writes to w what gzip.NewWriter(w) would. The
// bytes depend on how they are divided among calls of Write, as those of
// compress/gzip do.
func NewWriter(w io.Writer) *Writer {
	turn := make(chan *coder, 1)
	turn <- newCoder()
	return &Writer{w: w, chains: newChainTable(), filling: firstSegment(), turn: turn}
}

// Write compresses p, or keeps it to do so later.
func (z *Writer) Write(p []byte) (int, error) {
	if z.err != nil {
		return 0, z.err
	}
	z.begin()
	if len(p) > 0 {
		z.filling.noteWrite()
	}
	z.digest = crc32.Update(z.digest, crc32.IEEETable, p)
	z.size += uint32(len(p))
	for rest := p; len(rest) > 0 && z.err == nil; {
		if z.filling.size == capacity {
			z.dispatch()
		}
		rest = rest[z.filling.fill(rest):]
	}
	if z.err != nil {
		return 0, z.err
	}
	return len(p), nil
}

// Close completes the file. It does not close the underlying writer.
func (z *Writer) Close() error {
	switch z.err {
	case nil:
	case errClosed:
		return nil
	default:
		return z.err
	}
	z.begin()
	z.filling.last = true
	z.start()
	for len(z.running) > 0 {
		segments.Put(z.collect())
	}
	z.filling = nil
	z.write(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, z.digest), z.size))
	if z.err != nil {
		return z.err
	}
	z.err = errClosed
	return nil
}

func (z *Writer) begin() {
	if !z.begun {
		z.begun = true
		z.write([]byte(header))
	}
}

func (z *Writer) write(p []byte) {
	if z.err == nil {
		_, z.err = z.w.Write(p)
	}
}

// dispatch starts to compress the full segment, and prepares the next one.
func (z *Writer) dispatch() {
	full := z.filling
	z.start()
	if len(z.running) < min(mostSegments, runtime.GOMAXPROCS(0)+1) {
		z.filling = segments.Get().(*segment)
	} else {
		z.filling = z.collect()
	}
	z.filling.follow(full)
}

// start compresses the segment in a goroutine, which waits for the one before it and
// ends by itself. It writes to no writer.
func (z *Writer) start() {
	s, turn, next := z.filling, z.turn, make(chan *coder, 1)
	z.chains.link(s)
	z.turn = next
	z.running = append(z.running, s)
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		next <- s.compress(turn)
	}()
}

// collect writes the output of the oldest segment, and returns the segment for
// reuse.
func (z *Writer) collect() *segment {
	s := z.running[0]
	z.running = z.running[1:]
	<-s.done
	z.write(s.out)
	return s
}

// compress parses and encodes s. Until the segment before is done it works on a
// guess.
func (s *segment) compress(turn <-chan *coder) *coder {
	var c *coder
	s.lead, s.wrong = s.lead[:0], 0
	select {
	case c = <-turn:
		c.cursor, s.tokens = s.parse(c.cursor, s.end(), s.tokens[:0])
	default:
		guessed := s.guess()
		c = <-turn
		c.cursor = s.join(c.cursor, guessed)
	}
	c.out = s.out[:0]
	c.encode(s, s.lead)
	c.encode(s, s.tokens[s.wrong:])
	if s.last {
		c.finish(s)
	}
	s.out, c.out = c.out, nil
	c.next()
	return c
}
