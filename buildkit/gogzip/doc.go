// Package gogzip compresses to exactly the bytes that compress/gzip of Go 1.26
// writes at its default level, on several cores, and faster on one.
//
// The digest of an image is that of its compressed layers, and BuildKit compresses
// them with the standard library. RFC 1951 does not say which matches an encoder
// finds and how it divides a stream into blocks. So the source of the standard library
// is the specification: compress/flate/deflate.go (matches),
// huffman_bit_writer.go (blocks) and huffman_code.go (codes). Comments name the rule
// that the code below follows.
//
// A stream is divided into segments of 128 KiB, each of which takes three steps:
//
//   - link (chains.go) finds, for each position, the last one before it with the same hash;
//   - parse (parse.go) chooses literals and matches;
//   - encode (block.go) writes them in blocks.
//
// Link runs in Write, parse and encode in goroutines. The matches at a position depend
// only on the window before it. So a segment is parsed before the parse of the segment
// before it has ended, from a guess of the state that this will end in; join (join.go)
// combines the two. Only encode runs in the order of the stream.
//
// The package has one level, no Flush, no Reset, and no fields in the header. Start
// reading at writer.go.
package gogzip
