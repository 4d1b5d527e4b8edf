package imagediff

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
)

// Bounds of a sorter's memory: what it holds before it writes a sorted run, in bytes, and how many runs it merges at once.
const (
	sortBytes = 8 << 20
	sortRuns  = 64
	runBuffer = 32 << 10
)

// A sorter sorts records by their key, in bounded memory: sorted runs lie in one temporary file. (Libraries bound the
// number of records that they hold, not their bytes, and a tar may have names of a megabyte.)
type sorter struct {
	dir   string
	limit int // bytes held, sortBytes

	arena []byte
	spans []span
	file  *os.File // nil: everything is held
	end   int64    // of file
	runs  []run
}

// A span is a record in the arena: key, then value.
type span struct{ from, value, to int }

// A run is a part of the file.
type run struct{ from, to int64 }

func newSorter(dir string) *sorter { return &sorter{dir: dir, limit: sortBytes} }

func (s *sorter) close() {
	if s.file != nil {
		s.file.Close()
	}
	s.arena, s.spans = nil, nil
}

// add takes copies of both.
func (s *sorter) add(key, value []byte) error {
	if len(s.arena)+len(key)+len(value) > s.limit && len(s.spans) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	from := len(s.arena)
	s.arena = append(append(s.arena, key...), value...)
	s.spans = append(s.spans, span{from, from + len(key), len(s.arena)})
	return nil
}

func (s *sorter) sort() {
	slices.SortFunc(s.spans, func(a, b span) int {
		return bytes.Compare(s.arena[a.from:a.value], s.arena[b.from:b.value])
	})
}

// spill writes what is held as a run.
func (s *sorter) spill() error {
	s.sort()
	err := s.writeRun(func(put func(key, value []byte) error) error {
		for _, r := range s.spans {
			if err := put(s.arena[r.from:r.value], s.arena[r.value:r.to]); err != nil {
				return err
			}
		}
		return nil
	})
	s.arena, s.spans = s.arena[:0], s.spans[:0]
	if err == nil && len(s.runs) >= sortRuns {
		err = s.compact()
	}
	return err
}

// compact makes one run of all.
func (s *sorter) compact() error {
	m, err := s.merge()
	if err != nil {
		return err
	}
	old := len(s.runs)
	err = s.writeRun(func(put func(key, value []byte) error) error {
		for {
			key, value, err := m.next()
			if err == io.EOF {
				return nil
			}
			if err == nil {
				err = put(key, value)
			}
			if err != nil {
				return err
			}
		}
	})
	s.runs = s.runs[min(old, len(s.runs)):]
	return err
}

func (s *sorter) writeRun(fill func(put func(key, value []byte) error) error) error {
	if s.file == nil {
		f, err := TempFile(s.dir)
		if err != nil {
			return err
		}
		s.file = f
	}
	w := bufio.NewWriterSize(io.NewOffsetWriter(s.file, s.end), runBuffer)
	from, head := s.end, make([]byte, 0, 2*binary.MaxVarintLen64)
	err := fill(func(key, value []byte) error {
		head = binary.AppendUvarint(binary.AppendUvarint(head[:0], uint64(len(key))), uint64(len(value)))
		s.end += int64(len(head) + len(key) + len(value))
		w.Write(head)
		w.Write(key)
		_, err := w.Write(value)
		return err
	})
	if err == nil {
		err = w.Flush()
	}
	s.runs = append(s.runs, run{from, s.end})
	return err
}

// sorted returns the records in the order of their keys. Nothing may be added any more.
func (s *sorter) sorted() (*merger, error) {
	if s.file == nil {
		s.sort()
		return &merger{held: s}, nil
	}
	if len(s.spans) > 0 {
		if err := s.spill(); err != nil {
			return nil, err
		}
	}
	s.arena, s.spans = nil, nil
	return s.merge()
}

func (s *sorter) merge() (*merger, error) {
	m := &merger{}
	for _, r := range s.runs {
		c := &cursor{r: bufio.NewReaderSize(io.NewSectionReader(s.file, r.from, r.to-r.from), runBuffer)}
		if err := c.next(); err != nil {
			return nil, err
		}
		m.cursors = append(m.cursors, c)
	}
	heap.Init(m)
	return m, nil
}

// A merger iterates over sorted records.
type merger struct {
	held    *sorter // all records, if they are in memory
	at      int
	cursors []*cursor
	pending bool // the first cursor's record was returned
}

// next returns a record, which is valid until the next call, or io.EOF.
func (m *merger) next() (key, value []byte, err error) {
	if m.held != nil {
		if m.at == len(m.held.spans) {
			return nil, nil, io.EOF
		}
		r := m.held.spans[m.at]
		m.at++
		return m.held.arena[r.from:r.value], m.held.arena[r.value:r.to], nil
	}
	if m.pending {
		switch err := m.cursors[0].next(); err {
		case nil:
			heap.Fix(m, 0)
		case io.EOF:
			heap.Pop(m)
		default:
			return nil, nil, err
		}
	}
	if m.pending = len(m.cursors) > 0; !m.pending {
		return nil, nil, io.EOF
	}
	c := m.cursors[0]
	return c.record[:c.key], c.record[c.key:], nil
}

func (m *merger) Len() int { return len(m.cursors) }
func (m *merger) Less(i, j int) bool {
	a, b := m.cursors[i], m.cursors[j]
	return bytes.Compare(a.record[:a.key], b.record[:b.key]) < 0
}
func (m *merger) Swap(i, j int) { m.cursors[i], m.cursors[j] = m.cursors[j], m.cursors[i] }
func (m *merger) Push(any) {
	panic("imagediff: internal error: a merger has the runs that it began with")
}
func (m *merger) Pop() any {
	last := m.cursors[len(m.cursors)-1]
	m.cursors = m.cursors[:len(m.cursors)-1]
	return last
}

// A cursor reads a run.
type cursor struct {
	r      *bufio.Reader
	record []byte
	key    int
}

func (c *cursor) next() error {
	key, err := binary.ReadUvarint(c.r)
	if err != nil {
		return err // io.EOF between records
	}
	value, err := binary.ReadUvarint(c.r)
	if err == nil {
		c.key = int(key)
		c.record = slices.Grow(c.record[:0], int(key+value))[:key+value]
		_, err = io.ReadFull(c.r, c.record)
	}
	if err != nil {
		return fmt.Errorf("reading a temporary file: %w", err)
	}
	return nil
}
