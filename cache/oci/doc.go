// Package oci reads and writes the documents of an OCI image: digests, descriptors,
// platforms, image indexes, manifests and configs.
//
// Everything is read strictly and within limits, because a registry, an engine or a
// tree may have made it up: a document that two readers could understand in two ways
// is refused.
//
// The package knows no file and no network. Start reading at digest.go and oci.go.
package oci
