// Package oci reads and writes the documents of an OCI image: digests, descriptors,
// platforms, image indexes, manifests and configs.
//
// A registry, an engine or a tree may have forged any of them. So they are read strictly
// and within limits, and a document that two readers could understand in two ways is
// refused.
//
// The package opens no file and uses no network. Start reading at digest.go and oci.go.
package oci
