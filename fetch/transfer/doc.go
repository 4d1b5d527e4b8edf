// Package transfer moves bytes from servers that may fail, stall, lie or break off. It
// is what downloading sources (package fetch) and pulling images (package preseed)
// have in common, and knows neither.
//
// A transfer goes through four layers, each of which knows only the one below it:
//
//   - [Transport] carries one request and gives up on a server that does not answer, or
//     whose body stalls or drips (transport.go, stall.go), or on all of them if this
//     machine has no network (breaker.go);
//   - [Client] repeats one request, by go-retryablehttp (client.go);
//   - [Download] resumes a file, and lets its hash decide what it is (download.go);
//   - [Rounds] asks one place after the other, as often as is worth it (rounds.go).
//
// Which failures are worth another try is decided in one table, for all layers
// (outcome.go).
package transfer
