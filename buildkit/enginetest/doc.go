// Package enginetest drives the ordinary sx, and a stock buildkitd beside it,
// in trees of its own: real BuildKit, real containers, real kills.
//
// Its tests need root and runc, and fail without; SX_TEST_NO_ENGINE=1 leaves
// them out. SX_TEST_STOCK=1 adds the comparison with a stock buildkitd, which
// takes minutes to compile.
//
// It holds no code of sx. Start reading at tree.go; testdata/tool is the only
// program in the images that the tests build.
package enginetest
