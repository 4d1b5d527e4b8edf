package fetch

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"codeberg.org/stagex/sx/fetch/transfer"
)

// mirror is one URL for one download.
type mirror struct {
	url  *url.URL
	show string         // without credentials
	slot *transfer.Slot // held while it is asked
	err  error          // why it is not asked at all

	client   *transfer.Client
	download *transfer.Download // nil before it is asked
}

func newMirror(raw string) *mirror {
	m := &mirror{show: redact(raw)}
	m.url, m.err = url.Parse(raw)
	switch {
	case m.err != nil && strings.Contains(raw, "@"):
		m.err = transfer.Answerf("not a URL") // the reason could quote a password
	case m.err != nil:
		m.err = transfer.Answerf("%v", transfer.Plain(context.Background(), m.err))
	default:
		m.err = transfer.CheckURL(m.url)
	}
	return m
}

// request asks for the file from offset on, if it still is the one that began is of.
func (m *mirror) request(ctx context.Context, offset int64, began meta) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity") // also keeps net/http from unpacking
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		if v := began.matches(m.url.String()); v != "" {
			req.Header.Set("If-Range", v)
		}
	}
	return req, nil
}

var userinfo = regexp.MustCompile(`^([^/]*//)[^/]*@`)

func redact(raw string) string {
	shown := userinfo.ReplaceAllString(raw, "${1}xxxxx@")
	if _, err := url.Parse(raw); err != nil {
		shown = shown[strings.LastIndex(shown, "@")+1:]
	}
	return printable(shown)
}
