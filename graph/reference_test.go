package graph_test

import (
	"strings"
	"testing"

	"codeberg.org/stagex/sx/graph/graphtest"
)

const elsewhere = "neither scratch, fetch, a stage before this one, stagex/<output> nor an image by digest: BuildKit would pull "

var edgeErrorTests = map[string]struct {
	containerfile string
	want          []string
}{
	"empty":             {"", []string{` file with no instructions`}},
	"unknown output":    {"FROM scratch\nCOPY --from=stagex/core-otter . .", []string{`2: unknown output "core-otter"; did you mean core-other?`}},
	"unknown stage":     {"FROM stagex/crow-base", []string{`1: FROM "stagex/crow-base": parsing output "crow-base": want <stage>-<name>, the stage one of bootstrap, core, pallet, user`}},
	"tag":               {"FROM stagex/core-base:1", []string{`1: FROM "stagex/core-base:1": BuildKit would pull docker.io/stagex/core-base:1 from a registry: name outputs without tag or digest`}},
	"latest":            {"FROM stagex/core-base:latest", []string{`1: FROM "stagex/core-base:latest": BuildKit would pull docker.io/stagex/core-base:latest from a registry: name outputs without tag or digest`}},
	"digest":            {"FROM scratch\nCOPY --from=stagex/core-base@sha256:" + hash + " . .", []string{`2: COPY --from "stagex/core-base@sha256:` + hash + `": BuildKit would pull docker.io/stagex/core-base@sha256:` + hash + ` from a registry: name outputs without tag or digest`}},
	"docker.io":         {"FROM docker.io/stagex/core-base", []string{`1: FROM "docker.io/stagex/core-base": ` + elsewhere + `docker.io/stagex/core-base:latest; write stagex/core-base`}},
	"index.docker.io":   {"FROM index.docker.io/stagex/core-base", []string{`1: FROM "index.docker.io/stagex/core-base": ` + elsewhere + `docker.io/stagex/core-base:latest; write stagex/core-base`}},
	"quay.io":           {"FROM quay.io/stagex/core-base", []string{`1: FROM "quay.io/stagex/core-base": ` + elsewhere + `quay.io/stagex/core-base:latest`}},
	"image":             {"FROM debian:12", []string{`1: FROM "debian:12": ` + elsewhere + `docker.io/library/debian:12`}},
	"image in copy":     {"FROM scratch\n\nCOPY --chmod=1 --from=busybox . .", []string{`3: COPY --from "busybox": ` + elsewhere + `docker.io/library/busybox:latest`}},
	"image in mount":    {"FROM scratch\nRUN --mount=from=busybox,target=/x true", []string{`2: RUN --mount=from "busybox": ` + elsewhere + `docker.io/library/busybox:latest`}},
	"deeper":            {"FROM stagex/core-base/x", []string{`1: FROM "stagex/core-base/x": parsing output "core-base/x": not a repository component: want lower-case letters and digits, with single . or _, or hyphens, between them`}},
	"context":           {"FROM scratch\nCOPY --from=context . .", []string{`2: COPY --from "context": ` + elsewhere + `docker.io/library/context:latest`}},
	"bare output":       {"FROM core-base", []string{`1: FROM "core-base": ` + elsewhere + `docker.io/library/core-base:latest`}},
	"fetch with tag":    {"FROM fetch:latest", []string{`1: FROM "fetch:latest": ` + elsewhere + `docker.io/library/fetch:latest`}},
	"upper-case output": {"FROM stagex/Core-base", []string{`1: FROM "stagex/Core-base": neither a stage before this one nor an image: invalid reference format: repository name (stagex/Core-base) must be lowercase`}},
	"upper-case stage":  {"FROM scratch AS a\nFROM A", []string{`2: FROM "A": neither a stage before this one nor an image: invalid reference format: repository name (library/A) must be lowercase`}},
	"upper scratch":     {"FROM SCRATCH", []string{`1: FROM "SCRATCH": neither a stage before this one nor an image: invalid reference format: repository name (library/SCRATCH) must be lowercase`}},
	"later stage":       {"FROM scratch AS a\nCOPY --from=b . .\nFROM scratch AS b", []string{`2: COPY --from "b": the stage must come before this one`}},
	"itself":            {"FROM scratch AS a\nRUN --mount=from=A,target=/x true", []string{`2: RUN --mount=from "A": the stage must come before this one`}},
	"from later":        {"FROM b AS a\nFROM scratch AS b", []string{`1: FROM "b": the stage must come before this one`}},
	"number too large":  {"FROM scratch\nCOPY --from=0 . .", []string{`2: COPY --from "0": no stage before this one has that number`}},
	"negative number":   {"FROM scratch\nFROM scratch\nCOPY --from=-1 . .", []string{`3: COPY --from "-1": no stage before this one has that number`}},
	"number in FROM":    {"FROM scratch\nFROM 0", []string{`2: FROM "0": ` + elsewhere + `docker.io/library/0:latest`}},
	"number in mount":   {"FROM scratch\nFROM scratch\nRUN --mount=from=0,target=/x true", []string{`3: RUN --mount=from "0": ` + elsewhere + `docker.io/library/0:latest`}},

	"cache mount":       {"FROM scratch\nRUN --mount=type=cache,target=/c true", []string{`2: RUN --mount=type=cache: it keeps bytes of earlier builds, so that the result depends on them`}},
	"secret mount":      {"FROM scratch\nRUN --mount=type=secret,id=x true", []string{`2: RUN --mount=type=secret: nobody else has it, so that nobody could repeat the build`}},
	"ssh mount":         {"FROM scratch\nRUN --mount=target=/t --mount=type=ssh true", []string{`2: RUN --mount=type=ssh: nobody else has it, so that nobody could repeat the build`}},
	"type by variable":  {"FROM scratch\nARG T=cache\nRUN --mount=type=${T},target=/c true", []string{`3: RUN --mount: unsupported mount type "1"`}},
	"type by quotes":    {"FROM scratch\nRUN --mount='target=/c,type=ca\\che' true", []string{`2: RUN --mount=type=cache: it keeps bytes of earlier builds, so that the result depends on them`}},
	"cache from output": {"FROM scratch\nRUN --mount=target=/c,Type=CACHE,from=stagex/core-base true", []string{`2: RUN --mount=type=cache: it keeps bytes of earlier builds, so that the result depends on them`}},
	"device":            {"FROM scratch\nRUN --device=vendor.com/gpu=all true", []string{`2: RUN --device: the result would depend on the machine`}},
	"insecure":          {"FROM scratch\nRUN --security=insecure true", []string{`2: RUN --security=insecure: builds run in the sandbox only`}},
	"host's network":    {"FROM scratch\nRUN --network=host true", []string{`2: RUN --network=host: builds get no more than the default network`}},
	"cache, ONBUILD":    {"FROM scratch AS a\nONBUILD RUN --mount=type=cache,target=/c true\nFROM a", []string{`2: RUN --mount=type=cache: it keeps bytes of earlier builds, so that the result depends on them`}},

	"variable in copy":     {"ARG A=core-base\nFROM scratch\nARG A\nCOPY --from=stagex/$A . .", []string{`4: COPY --from "stagex/$A": variables are not expanded here; name a stage, and the variable in its FROM`}},
	"variable in mount":    {"FROM scratch\nRUN --mount=from=stagex/$A,target=/x true", []string{`2: 'from' doesn't support variable expansion, define alias stage instead`}},
	"variable not set":     {"FROM stagex/core-$A", []string{`1: FROM "stagex/core-": neither a stage before this one nor an image: invalid reference format; nothing before the first FROM sets $A`}},
	"variable of platform": {"ARG TARGETARCH\nFROM stagex/core-${TARGETARCH}", []string{`2: FROM "stagex/core-${TARGETARCH}": $TARGETARCH is not the same in every build`}},
	"through an ARG":       {"ARG A=base\nARG A=${TARGETARCH:-base}\nFROM stagex/core-$A", []string{`3: FROM "stagex/core-$A": $A is not the same in every build`}},
	"not declared":         {"FROM stagex/core-$VERSION", []string{`1: FROM "stagex/core-": neither a stage before this one nor an image: invalid reference format; nothing before the first FROM sets $VERSION`}},
	"declared in a stage":  {"FROM scratch\nARG A=base\nFROM stagex/core-$A", []string{`3: FROM "stagex/core-": neither a stage before this one nor an image: invalid reference format; nothing before the first FROM sets $A`}},
	"unset":                {"FROM $A", []string{`1: FROM "$A": expands to nothing: nothing before the first FROM sets $A`}},
	"required":             {"ARG A=${B:?none}\nFROM scratch", []string{`1: ARG A: failed to process "${B:?none}": B: none`}},
	"bomb":                 {"ARG A=aaaaaaaaaaaaaaaa\n" + strings.Repeat("ARG A=$A$A$A$A\n", 13) + "FROM scratch", []string{`7: ARG A: expands to more than 16384 bytes`}},
	"bomb in a stage":      {"FROM scratch AS a\nENV A=aaaaaaaaaaaaaaaa\n" + strings.Repeat("ENV A=$A$A$A$A\n", 4) + "FROM a\n" + strings.Repeat("ARG A=$A$A$A$A\n", 9), []string{`11: ARG: expands to more than 262144 bytes`}},
	"label":                {"FROM scratch\nENV A=" + strings.Repeat("a", 2000) + "\nLABEL a=" + strings.Repeat("$A", 200), []string{`3: LABEL: expands to more than 262144 bytes`}},
	"replacement bomb":     {"ARG A=" + strings.Repeat("a", 3000) + "\nARG A=${A//a/$A}\nFROM scratch", []string{`2: ARG A: expands to more than 4096 bytes`}},
	"nested replacements":  {"ARG A=aaaa\nARG A=${A//a/${A//a/${A//a/$A}}}\nFROM scratch", []string{`2: ARG A: a word with variables that is too long to be expanded`}},
	"expands to nothing":   {"ARG A=\nFROM $A", []string{`2: FROM "$A": expands to nothing`}},
	"bad substitution":     {"FROM ${A", []string{`1: FROM "${A": failed to process "${A": unsupported modifier (�) in substitution`}},
	"expands to a tag":     {"ARG VERSION\nFROM stagex/core-base:$VERSION", []string{`2: FROM "stagex/core-base:1.2.3": BuildKit would pull docker.io/stagex/core-base:1.2.3 from a registry: name outputs without tag or digest`}},

	"syntax":            {"# syntax=docker/dockerfile:1\nFROM scratch", []string{`1: syntax directive "docker/dockerfile:1": BuildKit would pull another frontend from a registry`}},
	"syntax, spaced":    {"#   SynTax  =  a/b \nFROM scratch", []string{`1: syntax directive "a/b": BuildKit would pull another frontend from a registry`}},
	"syntax later":      {"# escape=`\n# syntax=a/b\nFROM scratch", []string{`2: syntax directive "a/b": BuildKit would pull another frontend from a registry`}},
	"syntax, slashes":   {"// syntax=a/b\nFROM scratch", []string{`1: syntax directive "a/b": BuildKit would pull another frontend from a registry`}},
	"syntax, shebang":   {"#!/usr/bin/env x\n# syntax=a/b\nFROM scratch", []string{`2: syntax directive "a/b": BuildKit would pull another frontend from a registry`}},
	"syntax, mark":      {"\ufeff# syntax=a/b\nFROM scratch", []string{`1: syntax directive "a/b": BuildKit would pull another frontend from a registry`}},
	"syntax, JSON":      {` {"\u0073yntax": "a/b"}`, []string{` syntax directive "a/b": BuildKit would pull another frontend from a registry`}},
	"syntax too late":   {"# a comment\n# syntax=a/b\nFROM scratch\nFROM nowhere", []string{`4: FROM "nowhere": ` + elsewhere + `docker.io/library/nowhere:latest`}},
	"remote ADD":        {"FROM scratch\nADD a https://example.org/x.tgz /", []string{`2: ADD "https://example.org/x.tgz": a remote source; declare it in package.toml and ADD it from fetch/`}},
	"ADD from git":      {"FROM scratch\nADD git@example.org:x.git /", []string{`2: ADD "git@example.org:x.git": a remote source; declare it in package.toml and ADD it from fetch/`}},
	"ADD git URL":       {"FROM scratch\nADD --keep-git-dir=true GIT://example.org/x#v1 /", []string{`2: ADD "GIT://example.org/x#v1": a remote source; declare it in package.toml and ADD it from fetch/`}},
	"ADD by variable":   {"FROM scratch\nARG U=https://example.org\nADD ${U}/x /", []string{`3: ADD "${U}/x": could become a remote source; begin it with fetch/ or ./`}},
	"ADD by quotes":     {"FROM scratch\nADD h\"\"ttps://example.org/x /", []string{`2: ADD "h\"\"ttps://example.org/x": could become a remote source; begin it with fetch/ or ./`}},
	"reserved: fetch":   {"FROM scratch AS Fetch", []string{`1: stage "fetch": the name is reserved, BuildKit would not look at the stage`}},
	"reserved: scratch": {"FROM scratch AS scratch", []string{`1: stage "scratch": the name is reserved, BuildKit would not look at the stage`}},
	"reserved: context": {"FROM scratch AS context", []string{`1: stage "context": the name is reserved, BuildKit would not look at the stage`}},
	"stage's name":      {"FROM scratch AS a..b", []string{`1: stage "a..b": not a repository component: want lower-case letters and digits, with single . or _, or hyphens, between them`}},
	"stage twice":       {"FROM scratch AS a\nFROM scratch AS A", []string{`2: stage "a": defined twice`}},

	"ONBUILD of an output": {"FROM scratch\nONBUILD COPY --from=stagex/core-base . .", []string{`2: COPY --from "stagex/core-base": ONBUILD of an output: it would be looked up in every build upon it`}},
	"ONBUILD elsewhere":    {"FROM scratch AS a\nONBUILD RUN --mount=from=busybox,target=/x true\nFROM a", []string{`2: RUN --mount=from "busybox": ` + elsewhere + `docker.io/library/busybox:latest`}},
	"ONBUILD remote ADD":   {"FROM scratch\nONBUILD ADD http://example.org/x /", []string{`2: ADD "http://example.org/x": a remote source; declare it in package.toml and ADD it from fetch/`}},
	"ONBUILD nonsense":     {"FROM scratch\nONBUILD COPPY a b", []string{`2: ONBUILD: unknown instruction: COPPY (did you mean COPY?)`}},

	"instruction":        {"FROM scratch\nCOPPY a b", []string{`2: unknown instruction: COPPY (did you mean COPY?)`}},
	"escape sequences":   {"FROM scratch\n\x1b[31mCOPY a b", []string{`2: unknown instruction: \x1b[31mCOPY`}},
	"no FROM":            {"ARG A=1", []string{` no FROM in it`}},
	"before FROM":        {"RUN true\nFROM scratch", []string{`1: no build stage in current context`}},
	"unfinished heredoc": {"FROM scratch\nRUN <<EOF\ntrue", []string{`2: unterminated heredoc`}},
	"two problems":       {"FROM nowhere\nCOPY --from=stagex/core-otter . .", []string{`1: FROM "nowhere": ` + elsewhere + `docker.io/library/nowhere:latest`, `2: unknown output "core-otter"; did you mean core-other?`}},
}

func TestEdgeErrors(t *testing.T) {
	for name, test := range edgeErrorTests {
		t.Run(name, func(t *testing.T) {
			tree := graphtest.Tree(neighbours)
			tree["packages/core/x/Containerfile"].Data = []byte(test.containerfile)
			_, err := loadTree(tree)
			checkError(t, err, located(containerfileFile, test.want)...)
		})
	}
}

// TestVariablesInMounts: they may stand where they cannot change what a mount is.
func TestVariablesInMounts(t *testing.T) {
	const text = "FROM scratch\nARG N=1\nRUN --mount=type=tmpfs,target=/t$N,size=${N}m --mount=target=/c,rw=$N true\n"
	if _, err := loadOne("[package]\nname = \"x\"\n", text); err != nil {
		t.Error(err)
	}
}
