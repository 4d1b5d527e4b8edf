package transfer

import (
	"errors"
	"net"
	"regexp"
	"strings"
)

// Cause returns what err has in common with errors about other things and places: of a
// failed connection its last words, such as "network is unreachable", of anything else
// the message with "…" for digests, addresses and quoted names. Two errors of one cause
// are worth one line to a reader.
func Cause(err error) string {
	var op net.Error
	if errors.As(err, &op) {
		words := strings.Split(op.Error(), ": ")
		return words[len(words)-1]
	}
	return varies.ReplaceAllString(err.Error(), "…")
}

// varies matches the parts of a message that name one thing or place of many.
var varies = regexp.MustCompile(`"[^"]*"|https?://[^\s"]+|(sha256:)?[0-9a-f]{64}`)

// Unreachable reports that err is about the way to a place: a name that is not known,
// no route, nothing that listens, no answer.
func Unreachable(err error) bool {
	return errors.As(err, new(*net.OpError)) || errors.As(err, new(*net.DNSError))
}
