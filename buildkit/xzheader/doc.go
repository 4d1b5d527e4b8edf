// Package xzheader reads which filters and which check an .xz file uses, and makes
// small .xz files with given ones, to find out what another xz can unpack.
//
// It does not decompress.
package xzheader
