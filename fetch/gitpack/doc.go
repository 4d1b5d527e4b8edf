// Package gitpack asks a git server what a tag is, and for the objects of one commit, over
// HTTP: protocol version 2 (gitprotocol-v2(5), gitprotocol-http(5)), of which it speaks
// ls-refs and fetch.
//
// It believes nothing but the protocol: what arrives is a file, which the caller checks
// object by object. Answers are bounded in size and time. It runs no git, reads no
// configuration, sends no credentials, and follows no redirect from https to http.
package gitpack
