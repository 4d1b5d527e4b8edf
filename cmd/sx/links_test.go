package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	pageLink = regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]*))?\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	// notInAnchors are the characters of a heading that its anchor does not have.
	notInAnchors = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Every link of README and docs/ into this repository leads to a file, and to a heading
// of it.
func TestLinks(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		data, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pageLink.FindAllStringSubmatch(string(data), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			if text, err := os.ReadFile("../../" + target); m[2] != "" && (err != nil || !hasAnchor(string(text), m[2])) {
				t.Errorf("%s: %s has no heading #%s", page, target, m[2])
			} else if _, err := os.Stat("../../" + target); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d links were found", found)
	}
}

func hasAnchor(page, anchor string) bool {
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		if strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-") == anchor {
			return true
		}
	}
	return false
}
