// Package memo spares reading files that have not changed.
//
// [Stats] keeps the sha256 of files by inode, size, mtime and ctime; [Memo] keeps a value
// made by reading a file or a folder, for as long as all of that is unchanged. Both are
// kept in one file each, with a MAC, and a mistake of theirs may only cost time: what they
// are not sure of they forget. A file that was found damaged is marked on disk, and
// neither is believed about it until it is found whole again (damage.go).
//
// Start at stats.go, then memory.go.
package memo
