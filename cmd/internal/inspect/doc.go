// Package inspect lists, reads, searches and unpacks what images hold: the layers of an
// image on top of each other, as an engine would mount them.
//
// Names, links and contents are another's: nothing is executed, a link never leads out of
// the image, what an image may make us hold or write is bounded, and every layer is
// verified against the digest that names it before anything is said of it. It does not
// escape names: the caller does, when it prints them.
//
// It uses no network and knows no tree of definitions: an [Image] is a list of layers and
// a way to read blobs. Start at [Read] and [Unpack]; [Index] remembers which outputs hold
// which files.
package inspect
