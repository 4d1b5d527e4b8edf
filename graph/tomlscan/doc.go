// Package tomlscan reads TOML that is not trusted: with the line of every key, within limits
// of time and memory, and with a note for each construct that a parser of TOML 1.0 refuses.
//
// The decoder is github.com/BurntSushi/toml. A scan before it finds lines and refuses texts
// that would cost the decoder too much: nested tables take time in the square of their depth.
// A plain file, see plain.go, needs no decoder: the fuzz test compares its values with the
// decoder's.
//
// Start at [Parse].
package tomlscan
