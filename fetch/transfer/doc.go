// Package transfer downloads from servers that may fail, stall, send wrong bytes or close
// the connection. Downloading sources (package fetch) and pulling images (package
// preseed) share it; it knows neither.
//
// A transfer goes through four layers, each of which knows only the one below it:
//
//   - [Transport] carries one request. It gives up on a server that does not answer or
//     sends too slowly (transport.go, stall.go), and on all servers if this machine has
//     no network (breaker.go);
//   - [Client] retries one request, by go-retryablehttp (client.go);
//   - [Download] resumes a file and checks its hash (download.go);
//   - [Rounds] asks one place after the other, in several rounds (rounds.go).
//
// One table decides for all layers which failures are worth another try (outcome.go).
package transfer
