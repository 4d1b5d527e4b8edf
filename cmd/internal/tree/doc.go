// Package tree is an open StageX checkout: its definitions, its store, the published
// digests, and what is known of each output.
//
// [Open] reads packages/ and digests/; the methods of [Tree] compute the keys of outputs,
// those of a [View] answer what out/ and the records hold, as they were found once. A
// checkout is not trusted: nothing of it is executed, and no link leads out of it.
//
// It decides nothing about what to build and judges no digest.
package tree
