// Package tomlscan reads TOML that somebody else wrote: with the line of every
// key, within limits of time and memory, and with a note of what a parser of
// TOML 1.0 refuses.
//
// The decoder is github.com/BurntSushi/toml. A scan before it finds lines and
// refuses what would cost the decoder more than the text is worth: nested
// tables cost it the square of their depth.
//
// Start at [Parse].
package tomlscan
