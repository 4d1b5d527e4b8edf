package fetch

import (
	"context"
	"net/url"
	"regexp"
	"strings"
)

// mirror is one URL for one download.
type mirror struct {
	url     *url.URL
	show    string // without credentials
	slot    *slot  // held while it is asked
	patient bool   // retry it, for there is no other
	whole   bool   // its ranges are broken: ask for the whole file
	dead    bool   // it will not do better
	err     error  // the last one
}

func newMirror(raw string) *mirror {
	m := &mirror{show: redact(raw)}
	m.url, m.err = url.Parse(raw)
	switch {
	case m.err != nil && strings.Contains(raw, "@"):
		m.err = &protocolError{"not a URL"} // why could quote a password
	case m.err != nil:
		m.err = plain(context.Background(), m.err)
	default:
		m.err = checkURL(m.url)
	}
	m.dead = m.err != nil
	return m
}

var userinfo = regexp.MustCompile(`^([^/]*//)[^/]*@`)

func redact(raw string) string {
	shown := userinfo.ReplaceAllString(raw, "${1}xxxxx@")
	if _, err := url.Parse(raw); err != nil {
		shown = shown[strings.LastIndex(shown, "@")+1:]
	}
	return printable(shown)
}
