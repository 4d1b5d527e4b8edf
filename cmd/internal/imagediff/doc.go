// Package imagediff compares two images layer by layer and file by file, and guesses why they differ.
//
// It streams: a layer is read once to compare its entries and once more to compare the contents that differ, what does not
// fit into a few megabytes of memory lies in unnamed temporary files. Every blob is verified against the digest that
// names it before anything is said of it. Names and contents are another's: nothing of them is executed, extracted to a
// path or trusted, and [Text] and [HTML] escape them.
//
// It refuses to call two images equal whose digests differ: if the entries, configs and manifests say the same, the
// difference is in how they are written, and that is reported. A cause is a guess; the difference is not.
//
// It knows neither the tree nor a registry: an [Image] is a digest and a way to read blobs. Start at [Compare].
package imagediff
