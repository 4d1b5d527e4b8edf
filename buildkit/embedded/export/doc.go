// Package export makes BuildKit's OCI exporter compress each layer once.
//
// BuildKit's exporter with rewrite-timestamp compresses every new layer twice: the
// archive of the layer first, and, at every export anew, what its timestamp
// converter makes of that archive. [New] wraps the exporter. It is given references
// whose layers are finished: the archive goes through the converter on its way to
// the one compressor, and what came out is remembered with the reference, whose
// lease keeps it. The exporter finds the converter's mark on them, has nothing left
// to convert, and writes config and manifest itself.
//
// The bytes are BuildKit's by construction: the archive is written by the same
// differ, and read by BuildKit's own converter, which cannot tell a stream from a
// stored blob. Whatever the package does not know, such as a layer made by a diff
// operation, is left to BuildKit, which compresses it twice.
//
// The package knows nothing of sx, and links no engine. Start reading at export_linux.go;
// layers_linux.go decides what is made of a reference, rewrite_linux.go makes it.
package export
