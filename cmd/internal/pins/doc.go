// Package pins finds references to StageX images in any text, and says which releases their digests are of.
//
// It reads text and nothing else: a Containerfile, a compose file and a CI job are the same to it, and nothing of them is
// interpreted but defaults of ARG and ENV that hold a tag or digest. It names no release that does not list the digest,
// for the output that the reference names; what it does not know it calls unknown.
//
// It knows neither a checkout, nor registries, nor the engine: [Releases] come from the caller. Start at [Find], then
// [Releases.Judge] and [Update].
package pins
