package progress_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"codeberg.org/stagex/sx/cmd/internal/progress"
)

// schema is what docs/progress.md says of rawjson.
type schema struct {
	always, sometimes map[string][]string // fields by event
	types             map[string]string   // by field
}

func readSchema(t *testing.T) schema {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/progress.md")
	if err != nil {
		t.Fatal(err)
	}
	_, events, ok := strings.Cut(string(doc), "| event | when | always | sometimes |\n")
	events, fields, both := strings.Cut(events, "| field | type | means |\n")
	if !ok || !both {
		t.Fatal("docs/progress.md lacks the tables of events and fields")
	}
	s := schema{map[string][]string{}, map[string][]string{}, map[string]string{}}
	for _, row := range table(events) {
		s.always[row[0]], s.sometimes[row[0]] = words(row[2]), words(row[3])
	}
	for _, row := range table(fields) {
		for _, field := range words(row[0]) {
			s.types[field] = row[1]
		}
	}
	return s
}

// table is the cells of a table's rows, from its second line on.
func table(s string) (rows [][]string) {
	for line := range strings.Lines(s) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 3 {
			break
		}
		for i, c := range cells {
			cells[i] = strings.TrimSpace(c)
		}
		if cells[0] != "---" {
			rows = append(rows, cells)
		}
	}
	return rows
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func typeOf(v any) string {
	switch v := v.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "strings"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "number"
		}
		return "integer"
	}
	return "undocumented"
}

// TestRawJSONIsAsDocumented plays everything that can happen: each event and field
// of docs/progress.md must come, and nothing else.
func TestRawJSONIsAsDocumented(t *testing.T) {
	s := readSchema(t)
	seen := map[string]map[string]bool{}
	for line := range strings.Lines(shown(t, progress.Options{Mode: progress.RawJSON}) + flooded(t) + preseeded(t)) {
		e := decode(t, line)
		event := e["event"].(string)
		if s.always[event] == nil && s.sometimes[event] == nil {
			t.Fatalf("event %q is not documented: %s", event, line)
		}
		if seen[event] == nil {
			seen[event] = map[string]bool{}
		}
		for _, field := range append([]string{"time"}, s.always[event]...) {
			if _, ok := e[field]; !ok {
				t.Errorf("%s lacks %q: %s", event, field, line)
			}
		}
		for field, value := range e {
			seen[event][field] = true
			known := slices.Contains(s.always[event], field) || slices.Contains(s.sometimes[event], field) || field == "time" || field == "event"
			if !known {
				t.Errorf("%s: field %q is not documented: %s", event, field, line)
			}
			if got, want := typeOf(value), s.types[field]; got != want && (got != "integer" || want != "number") {
				t.Errorf("%s: %q is a %s, documented as %q: %s", event, field, got, want, line)
			}
		}
	}
	wantAll(t, s, seen)
}

func decode(t *testing.T, line string) (e map[string]any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&e); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return e
}

// wantAll checks that nothing is documented that never comes.
func wantAll(t *testing.T, s schema, seen map[string]map[string]bool) {
	t.Helper()
	used := map[string]bool{"time": true, "event": true}
	for event := range s.always {
		if seen[event] == nil {
			t.Errorf("event %q is documented and never comes", event)
		}
		for _, field := range append(s.sometimes[event], s.always[event]...) {
			if used[field] = true; !seen[event][field] {
				t.Errorf("%s: field %q is documented and never comes", event, field)
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(s.types)), slices.Sorted(maps.Keys(used)); !slices.Equal(got, want) {
		t.Errorf("the table of fields has %v, the events use %v", got, want)
	}
}

// flooded is what a reader gets that did not read for a long while.
func flooded(t *testing.T) string {
	all := ""
	synctest.Test(t, func(t *testing.T) {
		w := &valve{open: make(chan struct{})}
		d := open(t, w, progress.Options{Mode: progress.RawJSON})
		d.Warn("first")
		for range 200 {
			d.Warn(strings.Repeat("x", 100_000))
		}
		close(w.open)
		synctest.Wait()
		d.Warn("last")
		d.Close()
		all = w.out.take()
	})
	return all
}

// valve is a writer that is stuck until it opens.
type valve struct {
	open chan struct{}
	out  output
}

func (v *valve) Write(p []byte) (int, error) {
	<-v.open
	return v.out.Write(p)
}
