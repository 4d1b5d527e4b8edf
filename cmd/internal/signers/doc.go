// Package signers counts the people who signed an image.
//
// A [Lookup] reads the signature files of an image from one place and judges them by
// the keys that the user trusts ([signature.Keyring]); a [Background] does that for many
// images at once. The result says who signed and why each other file does not count.
//
// The package decides no verdict and no exit code. It asks a registry for one thing:
// the version in an image's manifest, if a signature names a version.
package signers
