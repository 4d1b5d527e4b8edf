package graph_test

import (
	"slices"
	"testing"

	"codeberg.org/stagex/sx/graph"
)

const containerfileFile = "packages/core/x/Containerfile:"

// outputs that the Containerfiles below may name.
const neighbours = base + `
-- packages/core/other/package.toml --
[package]
name = "other"
-- packages/core/other/Containerfile --
FROM scratch
-- packages/user/thing-1.x/package.toml --
[package]
name = "thing-1.x"
-- packages/user/thing-1.x/Containerfile --
FROM scratch
-- packages/core/x/package.toml --
[package]
name = "x"
version = "1.2.3"
-- packages/core/x/Containerfile --
`

var edgeTests = map[string]struct {
	containerfile string
	want          []string
}{
	"none":              {"FROM scratch", nil},
	"from":              {"FROM stagex/core-base", []string{"core-base"}},
	"as":                {"FROM stagex/core-base AS build", []string{"core-base"}},
	"lower case":        {"from stagex/core-base as build\ncopy --from=stagex/core-other . .", []string{"core-base", "core-other"}},
	"platform":          {"FROM --platform=linux/386 stagex/core-base", []string{"core-base"}},
	"platform is ARG":   {"FROM --platform=$BUILDPLATFORM stagex/core-base", []string{"core-base"}},
	"copy":              {"FROM scratch\nCOPY --from=stagex/core-base . /", []string{"core-base"}},
	"flags before":      {"FROM scratch\nCOPY --chmod=755 --link --from=stagex/core-base . /", []string{"core-base"}},
	"flags after":       {"FROM scratch\nCOPY --from=stagex/core-base --chown=0:0 --parents . /", []string{"core-base"}},
	"indented":          {"  FROM scratch\n\tCOPY --from=stagex/core-base . /", []string{"core-base"}},
	"spaces":            {"FROM   scratch\nCOPY   --from=stagex/core-base   .   /", []string{"core-base"}},
	"continued":         {"FROM scratch\nCOPY \\\n  # a comment\n  --from=stagex/core-base \\\n  . /", []string{"core-base"}},
	"other escape":      {"# escape=`\nFROM scratch\nCOPY `\n  --from=stagex/core-base . /", []string{"core-base"}},
	"CRLF":              {"FROM scratch\r\nCOPY --from=stagex/core-base . /\r\n", []string{"core-base"}},
	"byte-order mark":   {"\ufeffFROM stagex/core-base\n", []string{"core-base"}},
	"distinct, sorted":  {"FROM stagex/user-thing-1.x\nCOPY --from=stagex/core-other . .\nCOPY --from=stagex/core-base . .\nCOPY --from=stagex/core-other / /", []string{"core-base", "core-other", "user-thing-1.x"}},
	"json":              {"FROM scratch\nCOPY --from=stagex/core-base [\"a b\", \"/\"]", []string{"core-base"}},
	"mount":             {"FROM scratch\nRUN --mount=type=bind,from=stagex/core-base,target=/x --mount=from=stagex/core-other,dst=/y true", []string{"core-base", "core-other"}},
	"mount, quoted":     {"FROM scratch\nRUN --mount=\"from=stagex/core-base,target=/x\" true", []string{"core-base"}},
	"other mounts":      {"FROM scratch\nRUN --mount=type=bind,target=/c --mount=type=tmpfs,target=/t true", nil},
	"comment":           {"FROM scratch\n# COPY --from=stagex/core-nothing . .\n#COPY --from=stagex/core-nothing . .", nil},
	"heredoc":           {"FROM scratch\nRUN <<EOF\nCOPY --from=stagex/core-nothing . .\nFROM nowhere\nEOF", nil},
	"heredocs":          {"FROM scratch\nRUN <<-A <<'B'\nFROM nowhere\n\tA\nCOPY --from=nothing . .\nB\nCOPY --from=stagex/core-base . .", []string{"core-base"}},
	"copied heredoc":    {"FROM scratch\nCOPY <<EOF /Containerfile\nFROM nowhere\nEOF", nil},
	"continued RUN":     {"FROM scratch\nRUN cat \\\nFROM nowhere \\\nCOPY --from=nothing", nil},
	"stages":            {"FROM stagex/core-base AS a\nFROM a AS b\nCOPY --from=a . .\nCOPY --from=A . .\nCOPY --from=0 . .\nRUN --mount=from=a,target=/a true", []string{"core-base"}},
	"scratch":           {"FROM scratch\nCOPY --from=scratch . .\nRUN --mount=from=scratch,target=/x true", nil},
	"fetch":             {"FROM fetch AS sources\nFROM scratch\nCOPY --from=fetch . .\nRUN --mount=from=fetch,target=/f true", nil},
	"local ADD":         {"FROM scratch\nADD fetch/${X}.tar.xz ./$Y *.patch a/b:c /", nil},
	"copy from context": {"FROM scratch\nCOPY $X /", nil},

	"ARG default":      {"ARG BASE=stagex/core-base\nFROM ${BASE}", []string{"core-base"}},
	"ARG of ARG":       {"ARG A=core\nARG B=${A}-base C=x\nFROM \"stagex/$B\"", []string{"core-base"}},
	"ARG of the build": {"ARG VERSION_MAJOR=9\nFROM stagex/user-thing-${VERSION_MAJOR}.x", []string{"user-thing-1.x"}},
	"ARG redefines":    {"ARG TARGETARCH=base\nFROM stagex/core-$TARGETARCH", []string{"core-base"}},
	"ARG modified":     {"ARG A=base-9\nFROM stagex/core-${A%-*}", []string{"core-base"}},
	"ARG of platform":  {"ARG A=${TARGETARCH}\nFROM stagex/core-base\nARG A", []string{"core-base"}},

	"default of unset": {"FROM ${X:-stagex/core-base}", []string{"core-base"}},
	"default of empty": {"ARG X=\nFROM ${X:-stagex/core-base}", []string{"core-base"}},
	"default, not":     {"ARG X=stagex/core-base\nFROM ${X:-stagex/core-other}", []string{"core-base"}},
	"declared only":    {"ARG X\nFROM ${X-stagex/core-base}", []string{"core-base"}},
	"unset in it":      {"FROM stagex/core-base$X", []string{"core-base"}},
	"alternative":      {"ARG X=1\nFROM stagex/core-${X:+base}${Y:+other}", []string{"core-base"}},
	"required":         {"ARG X=base\nFROM stagex/core-${X:?}", []string{"core-base"}},
	"replaced":         {"ARG X=b-a-s-e\nFROM stagex/core-${X//-/}", []string{"core-base"}},
	"prefix":           {"ARG X=v-base\nFROM stagex/core-${X#v-}", []string{"core-base"}},
	"default in it":    {"ARG X=core\nFROM ${Y:-stagex/${X:-user}-base}", []string{"core-base"}},
	"single quotes":    {"ARG X=core\nFROM 'stagex/core-base'", []string{"core-base"}},

	"ONBUILD inside":  {"FROM scratch AS a\nFROM scratch AS b\nONBUILD COPY --from=stagex/core-base . .\nONBUILD COPY --from=a . .\nFROM b", []string{"core-base"}},
	"ONBUILD passive": {"FROM scratch\nONBUILD RUN true\nONBUILD COPY a b\nONBUILD ENV X=1", nil},
}

func TestEdges(t *testing.T) {
	for name, test := range edgeTests {
		t.Run(name, func(t *testing.T) {
			g := mustLoad(t, neighbours+test.containerfile+"\n")
			got := g.Output(graph.Ref{Stage: "core", Name: "x"}).Deps
			if !slices.Equal(names(got), test.want) {
				t.Errorf("deps = %v, want %v", got, test.want)
			}
		})
	}
}

// TestOnbuildOfASubpackage: what is an output is not only the last stage.
func TestOnbuildOfASubpackage(t *testing.T) {
	const manifest = "[package]\nname = \"x\"\nsubpackages = [\"a\"]\n"
	_, err := loadOne(manifest, "FROM scratch AS package-a\nONBUILD COPY --from=stagex/core-base . .\nFROM scratch\n")
	checkError(t, err, containerfileFile+`2: COPY --from "stagex/core-base": ONBUILD of an output: it would be looked up in every build upon it`)
	if _, err := loadOne(manifest, "FROM scratch AS package-a\nFROM scratch\nONBUILD COPY --from=stagex/core-base . .\n"); err != nil {
		t.Error(err)
	}
}
