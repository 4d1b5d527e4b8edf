package checkout

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"codeberg.org/stagex/sx/fetch/gitpack"
)

// Source names a commit of a repository on a server, by a tag or by its hash.
type Source struct {
	URL    string
	Tag    string // "" if Commit is given
	Commit string // 40 hexadecimal digits
}

// isTag reports whether name may be a tag's, more strictly than git-check-ref-format(1) has
// it.
func isTag(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		plain := strings.IndexFunc(part, func(r rune) bool {
			return !strings.ContainsRune("._+-", r) && !unicode.IsDigit(r) && !unicode.IsLetter(r) || r > unicode.MaxASCII
		}) < 0
		if !plain || part == "" || strings.ContainsAny(part[:1], "._+-") {
			return false
		}
	}
	return len(name) <= 200 && !strings.Contains(name, "..") && !strings.HasSuffix(name, ".lock")
}

// isHashPart reports whether name may be the beginning of a commit's hash.
func isHashPart(name string) bool {
	return len(name) >= 7 && strings.Trim(name, "0123456789abcdefABCDEF") == ""
}

// Parse reads "https://codeberg.org/stagex/stagex.git@2026.03.0": a URL, and behind the
// last @ a tag or the 40 digits of a commit.
func Parse(text string) (s Source, err error) {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return s, errors.New("it names no release: add @TAG, or @ and the 40 digits of a commit")
	}
	url, revision := text[:at], text[at+1:]
	if err := gitpack.CheckURL(url); err != nil {
		return s, fmt.Errorf("%.200q: %w", url, err)
	}
	switch {
	case gitpack.IsHash(revision):
		return Source{URL: url, Commit: revision}, nil
	case strings.HasPrefix(revision, "refs/"):
		return s, fmt.Errorf("%.200q is no tag's name: leave out refs/tags/", revision)
	case !isTag(revision):
		return s, fmt.Errorf("%.200q is neither a tag's name nor the 40 digits of a commit", revision)
	}
	return Source{URL: url, Tag: revision}, nil
}

// String returns what Parse reads.
func (s Source) String() string { return s.URL + "@" + s.revision() }

func (s Source) revision() string {
	if s.Tag != "" {
		return s.Tag
	}
	return s.Commit
}

// Error is a failure to get a tree from a server.
type Error struct {
	Source Source
	Err    error
}

func (e *Error) Error() string {
	hint := ""
	if noTag := (*gitpack.NoTagError)(nil); errors.As(e.Err, &noTag) {
		hint = "; a branch is not taken, as it moves: name a tag or a commit"
		if isHashPart(noTag.Name) {
			hint = "; a commit has 40 digits"
		}
	}
	return fmt.Sprintf("getting the tree of %s: %v%s", e.Source, e.Err, hint)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }
