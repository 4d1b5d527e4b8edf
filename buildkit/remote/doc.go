// Package remote reaches BuildKit engines that sx does not contain.
//
// [Buildkitd] is a buildkitd at an address: over TCP, a Unix socket, ssh, or in a
// container. [Docker] is the BuildKit inside a dockerd. [Podman] is a buildkitd
// in a container that sx starts in the user's podman. All are a [buildkit.Engine]; to
// the builds they differ only in how the connection is opened.
//
// The package starts no build. If an engine cannot be reached, the error is a
// [buildkit.EngineError] with the cause and the remedy; refused.go has both for every
// known cause.
package remote
