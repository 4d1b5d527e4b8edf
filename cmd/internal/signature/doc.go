// Package signature tells which people signed an image: it reads the OpenPGP messages of a signatures folder or a
// lookaside store, in both of the forms that StageX publishes, and counts people against the keys that the user trusts.
//
// It refuses to take a key from anywhere but the user: none counts because a message, a signature file or a tree brought it
// along. It refuses what could be read in two ways: armor, detached signatures, two messages or two signatures in one file,
// packets that have no place in such a message, JSON with a key twice. It knows neither the network nor what a tree says,
// runs no program, and a verdict about a digest learns nothing of it.
//
// Which signature counts, case by case and beside what gpg says, is the table in docs/signatures.md, which is
// TestCases. Begin with Keyring.Judge.
package signature
