package settings

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const reference = "../../../stagex.toml"

var shownKey = regexp.MustCompile(`(?m)^#([a-z_]+ = .*)$`)

// The reference file, with every key uncommented, is valid and says exactly the defaults.
func TestReferenceShowsTheDefaults(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	path := writeUser(t, shownKey.ReplaceAllString(string(data), "$1"))
	got, err := Load(Options{UserFile: path})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Errorf("a default in %s is not the real one (-real +shown):\n%s", reference, diff)
	}
}

// As it stands it is a valid file for a tree too, and says nothing.
func TestReferenceSaysNothing(t *testing.T) {
	got, err := Load(Options{Tree: os.DirFS("../../..")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Error(diff)
	}
}

// It shows every key once, in the order of the table, explained, and marked where only the user may say it.
func TestReferenceIsComplete(t *testing.T) {
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	section, comment := "", ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch m := shownKey.FindStringSubmatch(line); {
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
		case m != nil:
			name, _, _ := strings.Cut(m[1], " ")
			name = section + "." + name
			shown = append(shown, name)
			wantExplained(t, name, comment)
		case line == "":
			comment = ""
		default:
			comment += strings.TrimPrefix(line, "#")
		}
	}
	if diff := cmp.Diff(names(), shown); diff != "" {
		t.Errorf("keys (-known +shown):\n%s", diff)
	}
}

func wantExplained(t *testing.T, name, comment string) {
	t.Helper()
	k, ok := keyNamed(name)
	if comment == "" {
		t.Errorf("%s is not explained", name)
	}
	if marked := strings.HasSuffix(comment, "User only."); ok && marked != (k.userOnly != "") {
		t.Errorf("%s: marked as the user's: %v, want %v", name, marked, !marked)
	}
}

// Every field of Settings has one key, and every key its own field.
func TestEveryFieldHasItsKey(t *testing.T) {
	other := map[string]string{
		"build.jobs": "999", "build.memory": "9MB", "build.disk_floor": "9MB", "build.keep_going": "true", "build.platform": "linux/arm64", "build.progress": "plain",
		"fetch.jobs": "99", "fetch.per_host": "9", "fetch.retries": "9", "fetch.stall": "9s", "fetch.max_file": "9MB",
		"fetch.max_partial": "9GB", "fetch.user_agent": "x", "fetch.from": "oci://a.example/x", "engine.address": "docker", "engine.tlscacert": "/a",
		"engine.tlscert": "/c", "engine.tlskey": "/k", "engine.tlsservername": "n", "engine.tlsdir": "/d", "engine.reconnect": "9s", "engine.hub": "oci://a.example/x", "engine.results": "all",
		"engine.podman_image": "i", "engine.runc": "/r", "engine.snapshotter": "native",
		"engine.gzip": "go", "engine.cache_size": "9TB", "paths.state": "/s", "registries.hosts": "quay.io", "registries.namespace": "x",
		"registries.mirrors": "a.example/x, b.example:5000/y/z", "registries.plain_http": "10.0.0.1:5000", "registries.foreign": "docker.io",
		"registries.ca_file": "/c", "registries.per_host": "9", "signatures.quorum": "3", "signatures.from": "https://sigs.example/x",
		"release.hosts": "a.example/x",
	}
	changed := map[string]string{}
	for _, k := range keys {
		s := Default()
		if err := k.set(&s, other[k.name]); err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		fields := differing(Default(), s)
		if len(fields) != 1 || changed[fields[0]] != "" {
			t.Fatalf("%s changes %v", k.name, fields)
		}
		changed[fields[0]] = k.name
	}
	if got := len(changed); got != countFields() {
		t.Errorf("%d of %d fields have a key", got, countFields())
	}
}

// differing names the fields in which a and b differ, in the spelling of the struct: "Fetch.PerHost".
func differing(a, b Settings) []string {
	var fields []string
	eachField(func(name string, at []int) {
		x, y := reflect.ValueOf(a).FieldByIndex(at), reflect.ValueOf(b).FieldByIndex(at)
		if !reflect.DeepEqual(x.Interface(), y.Interface()) {
			fields = append(fields, name)
		}
	})
	return fields
}

func countFields() (n int) {
	eachField(func(string, []int) { n++ })
	return n
}

func eachField(do func(name string, at []int)) {
	for i := range reflect.TypeFor[Settings]().NumField() {
		section := reflect.TypeFor[Settings]().Field(i)
		if section.Name == "Packages" || section.Name == "Engines" { // have keys of its own
			continue
		}
		for j := range section.Type.NumField() {
			do(section.Name+"."+section.Type.Field(j).Name, []int{i, j})
		}
	}
}
