//go:build !embed_runc || !(amd64 || arm64)

package embedded

var runcInside []byte
