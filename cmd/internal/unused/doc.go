// Package unused finds lines of a Containerfile that can go without changing the digest of
// any output that it builds: instructions "COPY --from=stagex/…".
//
// [Lines] reads them, [Search] decides which to leave out, and a [Bench] builds each try, of
// a definition whose Containerfile is edited in memory only.
//
// It refuses to write a file, a record, a timing or out/, and to know which engine it is
// given; that has a state of its own, which the caller deletes.
package unused
