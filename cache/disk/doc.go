// Package disk has the file operations that sx trusts its state to: opening without following
// links, reading within limits, writing to a temporary name with a sync and a rename,
// exchanging folders, locks, folders that only their owner may write to, and the key that
// authenticates what sx writes for itself.
//
// It is a leaf that every package may import, and knows nothing of images or trees.
package disk
