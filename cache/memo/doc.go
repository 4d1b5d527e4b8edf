// Package memo spares reading what is as it was.
//
// [Stats] keeps the sha256 of files by inode, size, mtime and ctime; [Memo] keeps what
// was learnt by reading a file or a folder, for as long as all of it is what it was.
// Both live in one file each, with a MAC, and may only ever cost time: what they are
// not sure of they forget. What was found damaged is marked on disk and believed by
// neither until it is whole again (damage.go).
//
// Start reading at stats.go, then memory.go.
package memo
