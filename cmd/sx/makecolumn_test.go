package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	makeTarget   = regexp.MustCompile(`(?m)^([a-z][a-z-]*(?:-%)?):(?:[^=]|$)`)
	makeSetting  = regexp.MustCompile(`(?m)^([A-Z_]+) *[:?]?= `)
	makeTemplate = regexp.MustCompile(`\.PHONY: ([a-z]+)-\{stage\}-\{name\}`)
	scriptEnv    = regexp.MustCompile(`\bSTAGEX_[A-Z_]+`)
	// flagsOfMake are variables that the Makefile makes for itself.
	flagsOfMake = regexp.MustCompile(`_FLAG$|^DEFAULT_GOAL$`)
)

// The column "make" of docs/make.md has every target, variable and script of upstream's,
// and none that is not there.
func TestMakeColumn(t *testing.T) {
	tree := os.Getenv("SX_TEST_TREE")
	if tree == "" {
		t.Skip("SX_TEST_TREE names no StageX checkout")
	}
	theirs := upstreamsWords(t, tree)
	ours := makeColumn(t)
	for _, word := range slices.Sorted(maps.Keys(theirs)) {
		if !ours[word] {
			t.Errorf("docs/make.md has no row for %s", word)
		}
	}
	for _, word := range slices.Sorted(maps.Keys(ours)) {
		if !theirs[word] {
			t.Errorf("docs/make.md has a row for %s, which upstream does not have", word)
		}
	}
}

// upstreamsWords are the targets (those for one output as "import-%"), the variables that
// a user sets, and the scripts of a checkout.
func upstreamsWords(t *testing.T, tree string) map[string]bool {
	t.Helper()
	words := map[string]bool{}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(tree, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, file := range []string{"Makefile", "src/global.mk"} {
		for _, m := range makeTarget.FindAllStringSubmatch(read(file), -1) {
			if m[1] != "default" && m[1] != "out" { // plain make, and a folder
				words[m[1]] = true
			}
		}
		for _, m := range makeSetting.FindAllStringSubmatch(read(file), -1) {
			if !flagsOfMake.MatchString(m[1]) {
				words[m[1]] = true
			}
		}
	}
	generator := read("src/targets.py")
	for _, m := range makeTemplate.FindAllStringSubmatch(generator, -1) {
		words[m[1]+"-%"] = true
	}
	for _, name := range []string{"EXTRA_ARGS", "publish"} { // the generator's own
		if strings.Contains(generator, name) {
			words[name] = true
		}
	}
	entries, err := os.ReadDir(filepath.Join(tree, "src"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".mk" || e.Name() == "common.py" {
			continue // included and imported, not run
		}
		words["src/"+e.Name()] = true
		for _, name := range scriptEnv.FindAllString(read("src/"+e.Name()), -1) {
			words[name] = true
		}
	}
	return words
}

var (
	makeRow      = regexp.MustCompile("(?m)^\\| (`.*?) \\| ")
	assignment   = regexp.MustCompile(`^([A-Z_]+)(=\S+)?$`)
	perOutput    = regexp.MustCompile(`^([a-z]+)-core-hex$`)
	notUpstreams = map[string]bool{"core": true, "hex": true, "core-hex": true} // outputs and a stage of the example tree
)

// makeColumn has the words of the first column of docs/make.md, as upstreamsWords has them.
func makeColumn(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../../docs/make.md")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]bool{}
	for _, row := range makeRow.FindAllStringSubmatch(string(page), -1) {
		for _, code := range inlineCode.FindAllStringSubmatch(row[1], -1) {
			fields := strings.Fields(code[1])
			for _, word := range fields {
				switch {
				case word == "make" || strings.HasPrefix(word, "-") || notUpstreams[word]:
				case strings.HasPrefix(word, "src/"):
					words[word] = true
				case assignment.MatchString(word):
					words[assignment.FindStringSubmatch(word)[1]] = true
				case fields[0] == "make" && perOutput.MatchString(word):
					words[perOutput.FindStringSubmatch(word)[1]+"-%"] = true
				case fields[0] == "make":
					words[word] = true
				}
			}
		}
	}
	return words
}
