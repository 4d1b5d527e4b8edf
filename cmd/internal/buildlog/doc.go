// Package buildlog writes the log of a build, and reads and follows logs.
//
// Reading takes no lock on the store: it works while any number of sx build.
package buildlog
