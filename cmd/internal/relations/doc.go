// Package relations answers how the outputs of a graph depend on each other: which are
// reached from some of them and over how many steps, as a tree, and over which paths one
// depends on another.
//
// It only walks a graph.Graph that was read without cycles. It knows neither out/ nor an
// engine, and the only file it reads is a Containerfile, to name the line of a
// dependency. Everything it returns is bounded: a tree shows what an output depends on
// once, and of the paths, of which there may be millions, as many are listed as the
// caller asks for while the others are counted.
//
// Start at [Reach] and [Paths].
package relations
