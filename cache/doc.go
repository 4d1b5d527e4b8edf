// Package cache owns what a StageX tree has been built into: the layouts under
// out/, the blobs they share, the digests they add up to and the records of how
// each came to be.
//
// It refuses the network, and it refuses to believe: everything read from out/
// or from the store's own folder is bounded, reached without following a link,
// and checked against a digest or a MAC before anybody acts on it.
//
// A [Store] is opened on a tree. [Store.Layout] reads an output, [Store.Whole]
// and [Store.Verify] check every byte of it, [Store.Stage] writes a new one
// aside and swaps it in. [Store.Record] and [Store.Proof] say how an output came
// to be. [LoadDigests] and [Store.WriteDigests] are the tree's digests/ folder.
//
// Invariants:
//   - a file under out/ or digests/ is the old one or the complete new one, also
//     after kill -9 at any moment;
//   - a blob is trusted only while its inode, size, mtime and ctime are those
//     that [Stats] saw when it was last hashed;
//   - a record without a valid MAC is never a record.
package cache
