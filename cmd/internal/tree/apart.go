package tree

import "codeberg.org/stagex/sx/cache"

// Apart returns a Tree of the same definitions and digests/ whose results lie in store,
// which is not the checkout's: its out/ is not t's. t stays open for as long as the
// returned Tree is used; the caller closes store, and t.
func (t *Tree) Apart(store *cache.Store) *Tree {
	return &Tree{
		Dir: t.Dir, FS: t.FS, Graph: t.Graph, Store: store, Published: t.Published,
		Root: t.Root, foreign: t.foreign, Log: t.Log, Memory: t.Memory,
	}
}
