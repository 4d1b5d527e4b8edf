// Package panel judges outputs by published digests: the tree's own digests/, or those
// of other sources (a branch, an address, a folder), one judge for each.
//
// If the sources that list an output agree on its digest, the panel gives one verdict,
// else one per source. What a verdict means is decided in package verdict alone.
package panel
