package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"codeberg.org/stagex/sx/graph"
)

// meta says which version of which URL a partial file came from, so that the server can
// be asked to resume only that version (If-Range). It is a hint: the hash decides, and a
// lost or damaged meta file does no harm.
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

// matches returns the validator for url, "" if there is none.
func (m meta) matches(url string) string {
	// The validator is put into a header unchanged.
	strange := strings.ContainsFunc(m.Validator, func(r rune) bool { return r < ' ' || r > '~' })
	if strange || m.URL != newMeta(url, "", "").URL {
		return ""
	}
	return m.Validator
}

// readMeta returns the zero meta unless the file is regular, small and well-formed.
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

// writeMeta ignores failures: the download is then resumed without If-Range.
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
