package graph_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/graph"
)

var (
	ruleHead    = regexp.MustCompile(`(?m)^out/(\S+)/index\.json: \\\n((?:.*\\\n)*.*)`)
	commandText = regexp.MustCompile(`(?s)rm -rf out/(\S+) &&.*?\ndocker (.*?)\| tar -C`)
	quoted      = regexp.MustCompile(`"([^" ]*)"`)
)

// makeDeps reads the prerequisites of each output's rule.
func makeDeps(t *testing.T, rules string) map[string][]string {
	deps := map[string][]string{}
	for _, m := range ruleHead.FindAllStringSubmatch(rules, -1) {
		list := []string{}
		prerequisites, _, _ := strings.Cut(m[2], "\n\trm ")
		for _, word := range strings.Fields(prerequisites) {
			if dep, ok := strings.CutPrefix(word, "out/"); ok {
				list = append(list, strings.TrimSuffix(dep, "/index.json"))
			}
		}
		slices.Sort(list)
		deps[m[1]] = slices.Compact(list)
	}
	if len(deps) == 0 {
		t.Fatal("upstream has no rules")
	}
	return deps
}

// makeCommands reads each build command back into a request.
func makeCommands(t *testing.T, script string) map[string]graph.Request {
	commands := map[string]graph.Request{}
	for _, m := range commandText.FindAllStringSubmatch(script, -1) {
		text := quoted.ReplaceAllString(strings.ReplaceAll(m[2], "\\\n", " "), "$1")
		commands[m[1]] = requestOf(t, strings.Fields(text))
	}
	if len(commands) == 0 {
		t.Fatal("make has no commands")
	}
	return commands
}

// requestOf reads a command line of docker build. What upstream.md lists as a
// defect is mended: a version with no dot has no major.minor, not "None".
func requestOf(t *testing.T, words []string) graph.Request {
	r := graph.Request{BuildArgs: map[string]string{}, Contexts: map[string]string{}, Annotations: map[string]string{}}
	for i := 0; i < len(words); i++ {
		flag, value, ok := strings.Cut(words[i], "=")
		if !ok && strings.HasPrefix(flag, "-") {
			i++
			value = words[i]
		}
		key, rest, _ := strings.Cut(value, "=")
		switch flag {
		case "build", "--provenance", "--progress":
		case "--ulimit":
			r.Ulimits = append(r.Ulimits, value)
		case "--tag":
			r.Tags = append(r.Tags, value)
		case "--build-arg":
			if key == "VERSION_MAJOR_MINOR" && rest == "None" {
				rest = ""
			}
			r.BuildArgs[key] = rest
		case "--target":
			r.Target = value
		case "--platform":
			r.Platforms = strings.Split(value, ",")
		case "-f":
			r.File = value
		case "--build-context":
			if key == "fetch" {
				r.Fetch = rest
				continue
			}
			r.Contexts[key] = strings.TrimPrefix(rest, "oci-layout://./")
		case "--output":
			for _, field := range strings.Split(value, ",") {
				if annotation, ok := strings.CutPrefix(field, "annotation."); ok {
					name, text, _ := strings.Cut(annotation, "=")
					r.Annotations[name] = text
				}
			}
		default:
			if strings.HasPrefix(flag, "-") || r.Context != "" {
				t.Fatalf("docker build with unknown %q", words[i])
			}
			r.Context = flag
		}
	}
	return r
}
