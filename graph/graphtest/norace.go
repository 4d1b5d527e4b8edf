//go:build !race

package graphtest

const raced = 1
