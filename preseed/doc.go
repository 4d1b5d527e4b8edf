// Package preseed brings published images into out/, by the digests in digests/,
// straight from a registry: no engine, no docker, and the layout of each is byte
// for byte what a build would have left.
//
// It refuses to believe a registry: not a byte is kept, nor acted on, that was not
// hashed and found to be what its digest names; no size, media type, redirect or
// encoding is believed because a server says so. It refuses plain HTTP but where the user
// says so or the registry is on this machine, and redirects from HTTPS to HTTP.
// Credentials go only to the registry that they are for.
//
// Start at Run (run.go), which preseeds images; [Client] (client.go) is the
// registry client, also for what is neither an image nor for out/: [Pusher]
// (push.go) gives images and sources to registries, SourceTransport (sources.go)
// has sources from one. A request's way is repository.go, auth.go (what the registry
// wants to know; credentials.go, helper.go and token.go find it), host.go (what a
// connection may do), and package transfer, which resumes, retries and hashes. The
// protocol is the OCI distribution specification 1.1; names and uploads are
// go-containerregistry's.
package preseed
