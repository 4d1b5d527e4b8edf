//go:build !embed_runc || !(amd64 || arm64)

package buildkit

var runcInside []byte
