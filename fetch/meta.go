package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"codeberg.org/stagex/sx/graph"
)

// meta says which version of which URL a partial file came from, so that the
// server can be asked to resume only that (If-Range). It is a hint: the hash
// decides, and a meta file that is lost or damaged is as good as none.
type meta struct {
	URL       string `json:"url_sha256"` // hashed, it may hold credentials
	Validator string `json:"validator"`  // a strong ETag, or Last-Modified
}

func newMeta(url, etag, modified string) meta {
	validator := modified
	if strings.HasPrefix(etag, `"`) {
		validator = etag
	}
	sum := sha256.Sum256([]byte(url))
	return meta{URL: hex.EncodeToString(sum[:]), Validator: validator}
}

// matches gives the validator for url, "" where there is none.
func (m meta) matches(url string) string {
	// A validator goes into a header as it is.
	strange := strings.ContainsFunc(m.Validator, func(r rune) bool { return r < ' ' || r > '~' })
	if strange || m.URL != newMeta(url, "", "").URL {
		return ""
	}
	return m.Validator
}

// readMeta gives the zero meta for anything but a plain small file of ours.
func (t *temp) readMeta(hash graph.Hash) meta {
	var m meta
	name := hash.String() + metaSuffix
	if info, err := t.dir.Lstat(name); err != nil || !info.Mode().IsRegular() || info.Size() > 4<<10 {
		return meta{}
	}
	data, err := t.dir.ReadFile(name)
	if err != nil || json.Unmarshal(data, &m) != nil {
		return meta{}
	}
	return m
}

// writeMeta may fail: then a resumption asks without If-Range.
func (t *temp) writeMeta(hash graph.Hash, m meta) {
	name := hash.String() + metaSuffix
	t.dir.Remove(name)
	if m.Validator == "" {
		return
	}
	data, err := json.Marshal(m)
	if err != nil {
		panic("fetch: internal error: " + err.Error())
	}
	t.dir.WriteFile(name, data, 0o600)
}
