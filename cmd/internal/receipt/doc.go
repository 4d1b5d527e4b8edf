// Package receipt makes and reads receipts: what a build here gave, said to others.
//
// A receipt is an in-toto statement with a SLSA provenance in a DSSE envelope with one
// signature, of a person (OpenPGP) or of a machine key that a person certified. Package
// receipt checks signatures by the user's keys, and adds up who confirms what.
//
// It refuses receipts that are not signed by a key that the user trusts, that are about
// other definitions or dependencies than the tree's, and everything that is not exactly
// in the form that it writes. It names no host, user or path. It does not know how to
// build, and a machine key signs nothing but receipts.
package receipt
