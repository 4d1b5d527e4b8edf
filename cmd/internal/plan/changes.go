package plan

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
)

// Change is one difference between the inputs of the last build of an output and
// those of the next: Name changed from Was to Now. Text describes it for the user.
type Change struct {
	// Kind is "file" (Name is its path in the tree), "source" (its file name),
	// "dependency" (the output), "argument" (of the build), "request" (another part
	// of it), "engine", or "unknown" if the inputs of the last build are not kept.
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	Was  string `json:"was,omitempty"` // "" if it is new
	Now  string `json:"now,omitempty"` // "" if it was removed
	Text string `json:"text"`
}

// changes lists the differences between two sets of inputs. Those that a person made
// come first: files, sources and arguments, then their consequences.
func changes(was, now tree.KeyParts) []Change {
	var cs []Change
	cs = append(cs, fileChanges(was, now)...)
	cs = append(cs, mapChanges("source", was.Sources, now.Sources, sourceText)...)
	cs = append(cs, argumentChanges(was.Request.BuildArgs, now.Request.BuildArgs)...)
	cs = append(cs, requestChanges(was, now)...)
	return append(cs, depChanges(depTexts(was.Deps), depTexts(now.Deps))...)
}

func fileChanges(was, now tree.KeyParts) []Change {
	list := func(p tree.KeyParts) map[string]string {
		m := map[string]string{}
		for _, f := range p.Context {
			m[path.Join(p.Request.Context, f.Path)] = f.Mode + " " + f.Sum
		}
		return m
	}
	return mapChanges("file", list(was), list(now), func(name, was, now string) string {
		oldMode, oldSum, _ := strings.Cut(was, " ")
		newMode, newSum, _ := strings.Cut(now, " ")
		switch {
		case was == "":
			return name + " was added"
		case now == "":
			return name + " was removed"
		case oldSum == newSum:
			return fmt.Sprintf("%s has another mode: %s → %s", name, oldMode, newMode)
		}
		return name + " changed"
	})
}

func sourceText(name, was, now string) string {
	switch {
	case was == "":
		return "the source " + name + " was added"
	case now == "":
		return "the source " + name + " was removed"
	}
	return fmt.Sprintf("the source %s changed %s → %s", name, text.Abbreviate(was), text.Abbreviate(now))
}

// derivedArgs are computed from VERSION; a change of VERSION is listed without them.
var derivedArgs = []string{
	"VERSION_UNDER", "VERSION_DASH", "VERSION_MAJOR", "VERSION_MAJOR_MINOR", "VERSION_STRIP_SUFFIX",
}

func argumentChanges(was, now map[string]string) []Change {
	was, now = maps.Clone(was), maps.Clone(now)
	if was["VERSION"] != now["VERSION"] {
		for _, name := range derivedArgs {
			delete(was, name)
			delete(now, name)
		}
	}
	return mapChanges("argument", was, now, func(name, was, now string) string {
		if name == "VERSION" {
			return fmt.Sprintf("its version changed %s → %s", text.OrNone(was), text.OrNone(now))
		}
		return fmt.Sprintf("the build argument %s changed %s → %s", name, text.OrNone(was), text.OrNone(now))
	})
}

// requestChanges compares the rest of the request. It leaves out the contexts, which
// are the dependencies, and the parts of tags and annotations that come from the
// version.
func requestChanges(was, now tree.KeyParts) []Change {
	list := func(p tree.KeyParts) map[string]string {
		r := p.Request
		m := map[string]string{
			"platforms": strings.Join(r.Platforms, ","), "folder": r.Context, "target": r.Target,
			"ulimits": strings.Join(r.Ulimits, ","), "sx's way to build": fmt.Sprint(p.Format),
			"engine's probe": text.Abbreviate(p.Probe),
		}
		if was.Request.BuildArgs["VERSION"] == now.Request.BuildArgs["VERSION"] {
			m["tags"], m["annotations"] = strings.Join(r.Tags, ","), fmt.Sprint(r.Annotations)
		}
		return m
	}
	cs := mapChanges("request", list(was), list(now), func(name, was, now string) string {
		return fmt.Sprintf("the %s changed %s → %s", name, text.OrNone(was), text.OrNone(now))
	})
	for i := range cs {
		switch cs[i].Name {
		case "engine's probe":
			cs[i].Kind = "engine"
			cs[i].Text = fmt.Sprintf("the engine produces other bytes: its probe image was %s, is %s", text.OrNone(cs[i].Was), text.OrNone(cs[i].Now))
		case "sx's way to build":
			cs[i].Text = "this sx builds otherwise than the one that built it"
		}
	}
	return cs
}

// depTexts returns the images of each dependency as one text, "<platform>
// <digest>,…".
func depTexts(deps map[string]map[string]bool) map[string]string {
	m := map[string]string{}
	for name, set := range deps {
		m[name] = strings.Join(slices.Sorted(maps.Keys(set)), ",")
	}
	return m
}

func depChanges(was, now map[string]string) []Change {
	cs := mapChanges("dependency", was, now, func(name, was, now string) string {
		switch {
		case was == "":
			return name + " is a new dependency"
		case now == "":
			return name + " is no dependency any more"
		}
		was, now = firstDifferent(was, now)
		return fmt.Sprintf("%s changed %s → %s", name, text.Abbreviate(was), text.Abbreviate(now))
	})
	for i, c := range cs { // in JSON only the digests
		if c.Was != "" && c.Now != "" {
			cs[i].Was, cs[i].Now = firstDifferent(c.Was, c.Now)
		}
	}
	return cs
}

// firstDifferent returns the digests of the first platform whose images differ, ""
// on a side without one.
func firstDifferent(was, now string) (string, string) {
	images := func(s string) map[string]string {
		m := map[string]string{}
		for image := range strings.SplitSeq(s, ",") {
			platform, digest, _ := strings.Cut(image, " ")
			m[platform] = digest
		}
		return m
	}
	a, b := images(was), images(now)
	platforms := slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
	slices.Sort(platforms)
	for _, p := range platforms {
		if a[p] != b[p] {
			return a[p], b[p]
		}
	}
	return "", ""
}

// mapChanges lists the differing members of two maps, sorted by name.
func mapChanges(kind string, was, now map[string]string, say func(name, was, now string) string) []Change {
	var cs []Change
	names := slices.Concat(slices.Collect(maps.Keys(was)), slices.Collect(maps.Keys(now)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if was[name] != now[name] {
			cs = append(cs, Change{kind, name, was[name], now[name], say(name, was[name], now[name])})
		}
	}
	return cs
}

// changesSince lists the changes from rec's build to now.
func changesSince(store *cache.Store, rec cache.Record, now tree.KeyParts) []Change {
	var was tree.KeyParts
	if store.Inputs(rec.Key, &was) == nil {
		if cs := changes(was, now); len(cs) > 0 {
			return cs
		}
	}
	cs := depChanges(depTexts(tree.ImageSets(rec.Deps)), depTexts(now.Deps))
	if rec.Engine.Probe != now.Probe {
		cs = append(cs, requestChanges(tree.KeyParts{Probe: rec.Engine.Probe}, tree.KeyParts{Probe: now.Probe})...)
	}
	if len(cs) == 0 {
		cs = []Change{{Kind: "unknown", Text: "its definition or its sources changed (what they were is not kept)"}}
	}
	return cs
}

// maxChangesTold bounds the changes that a reason names; `sx explain` lists all.
const maxChangesTold = 2

// sentence describes changes in one line.
func sentence(cs []Change) string {
	var texts []string
	for _, c := range cs[:min(len(cs), maxChangesTold)] {
		texts = append(texts, c.Text)
	}
	if more := len(cs) - maxChangesTold; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, ", ")
}
