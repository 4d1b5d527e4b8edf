// Package gogzip compresses to exactly the bytes that compress/gzip of Go 1.26
// writes at its default level, on several cores, and faster on one.
//
// The digest of an image is that of its compressed layers, and BuildKit compresses
// them with the standard library. RFC 1951 leaves it to an encoder which matches it
// finds and how it divides a stream into blocks; so what this package must do is
// defined by the standard library's source: compress/flate/deflate.go (matches),
// huffman_bit_writer.go (blocks) and huffman_code.go (codes). Comments name the rule
// that the code below follows.
//
// A stream is cut into segments of 128 KiB, and each goes through three steps:
//
//   - link (chains.go) finds for each position the last one before it with the same hash;
//   - parse (parse.go) chooses literals and matches;
//   - encode (block.go) writes them in blocks.
//
// The first runs in Write. The others run beside it: what is found at a position
// depends on nothing but the window before it, so a segment is parsed before the
// parse of the one before has ended, from a guess of where that will stand, and join
// (join.go) puts the two together. Only encode runs in the order of the stream.
//
// The package knows one level, no Flush, no Reset and no fields of the header. Start
// reading at writer.go.
package gogzip
