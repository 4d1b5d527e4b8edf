// Package cache keeps what sx has built in a StageX tree: the layouts in out/, the blobs
// that they share, the records of how each came to be, keys, and digests/.
//
// It uses no network and trusts nothing that it reads: files in out/, digests/ and the
// store's own folder may come from someone else, so they are bounded, reached without
// following a link, and checked against a digest or a MAC before anything depends on them.
//
// A [Store] is opened on a tree. [Store.Read] reads an output, [Store.Check] and
// [Store.Verify] check every byte of it, [Store.Stage] writes a new one aside and
// [Staging.Commit] swaps it in. Record and Proof say how an output came to be.
// [LoadDigests] and [Store.WriteDigests] are the tree's digests/ folder.
//
// Invariants:
//   - a file in out/ or digests/ is the old one or the complete new one, also after
//     kill -9 at any moment;
//   - a blob is trusted only while its inode, size, mtime and ctime are those that
//     [memo.Stats] saw when it was last hashed;
//   - a record without a valid MAC is never a record.
//
// Start at store.go. A Store is made of its folders (folders.go), shared blobs (blobs.go),
// records (records.go) and layouts: outputs.go reads them, staging.go and swap.go write.
package cache
