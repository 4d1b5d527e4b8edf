// Package publish decides which outputs may be published, writes their digests to digests/,
// and pushes images and sources to registries.
//
// It refuses what is not proven, unless it is forced to, and says why of each. It builds
// nothing and signs nothing.
package publish
