// Package reproduce proves a release from its published images: it plans builds of
// outputs from the published images of their direct dependencies, and says what their
// digests prove together.
//
// If each output of a closure, built so, has its published digest, a build from the seed
// gives the same digests: the outputs without dependencies were built from sources
// alone, and every other one from images that are proven in this way.
//
// It refuses to call anything proven that was downloaded, to use the cache of an engine,
// and to write into the checkout's out/. It knows nothing of signatures.
package reproduce
