// Package enginetest drives the ordinary sx, and a stock buildkitd beside it,
// in trees of its own: real BuildKit, real containers, real kills.
//
// Its tests need root and runc, and fail without; SX_TEST_NO_ENGINE=1 leaves
// them out. SX_TEST_STOCK=1 adds the comparison with a stock buildkitd, which
// takes minutes to compile, on every engine that CI can hold; SX_TEST_ENGINES
// names others (scripts/engines). An engine is an entry of [Engines], in way.go.
//
// It holds no code of sx. Start reading at tree.go; testdata/tool is the only
// program in the images that the tests build.
package enginetest
