// Package preseed downloads published images from registries into out/, by the digests
// in digests/. It needs no engine and no docker, and out/ has the same bytes as after a
// build.
//
// It does not trust a registry: it hashes every byte before it keeps or uses it, and it
// checks sizes, media types, redirects and encodings. It refuses plain HTTP, unless the
// user allows it for the host or the registry is on this machine, and redirects from
// HTTPS to HTTP. It sends credentials only to the registry that they are for.
//
// Start at Run (run.go), which preseeds images. [Client] (client.go) is the registry
// client. [Pusher] (push.go) pushes images and sources, SourceTransport (sources.go)
// downloads sources. A request passes through repository.go, auth.go (authentication,
// with credentials.go, helper.go and token.go), host.go (which connections are allowed)
// and package transfer, which resumes, retries and hashes. The protocol is the OCI
// distribution specification 1.1; go-containerregistry parses names and uploads.
package preseed
