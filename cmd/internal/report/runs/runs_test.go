package runs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/events"
	"codeberg.org/stagex/sx/cmd/internal/report/reporttest"
	"codeberg.org/stagex/sx/cmd/internal/report/runs"
)

// folder is runs/ of a new state folder.
func folder(t *testing.T) (state, dir string) {
	state = t.TempDir()
	dir = filepath.Join(state, "runs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return state, dir
}

// record keeps the events under an id.
func record(dir, id string, all []events.Event) {
	r := runs.NewRecorder(id, func() (string, error) { return dir, nil })
	for _, e := range all {
		r.Observe(e)
	}
}

func read(t *testing.T, state, id string) *runs.Run {
	t.Helper()
	r, err := runs.Read(state, id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKept(t *testing.T) {
	state, dir := folder(t)
	want := reporttest.Stream(reporttest.Options{Outputs: 16, Failing: 5})
	record(dir, want.ID, want.Events)
	got := read(t, state, want.ID)
	if got.State != runs.Ended || got.Damaged != 0 || len(got.Events) != len(want.Events) {
		t.Errorf("%s, %d damaged, %d events, want %d", got.State, got.Damaged, len(got.Events), len(want.Events))
	}
	for i := range got.Events {
		if events.Line(got.Events[i]) != events.Line(want.Events[i]) {
			t.Fatalf("event %d is %s", i, events.Line(got.Events[i]))
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 || files[0].Name() != want.ID+".jsonl" {
		t.Errorf("the folder has %v", files)
	}
}

// A run with nothing to do makes no file and no folder.
func TestNothingIsNotKept(t *testing.T) {
	r := runs.NewRecorder(runs.NewID(time.Now()), func() (string, error) { t.Error("a folder is made"); return "", nil })
	for _, kind := range []events.Kind{events.RunBegin, events.Waiting, events.FetchBegin, events.FetchDone, events.FetchEnd, events.Verdict, events.RunEnd} {
		r.Observe(events.Event{Time: time.Now(), Event: kind})
	}
}

// While a run goes on it is running; without its process it is interrupted, and all that
// it told is there.
func TestKilled(t *testing.T) {
	state, dir := folder(t)
	stream := reporttest.Stream(reporttest.Options{Outputs: 16, Cut: 9})
	record(dir, stream.ID, stream.Events)
	path := filepath.Join(dir, stream.ID+".part")
	var data []byte
	for deadline := time.Now().Add(10 * time.Second); strings.Count(string(data), "\n") < len(stream.Events); data, _ = os.ReadFile(path) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d events are in the file", strings.Count(string(data), "\n"), len(stream.Events))
		}
	}
	if got := read(t, state, stream.ID); got.State != runs.Running {
		t.Errorf("it is %s", got.State)
	}
	killed := "20200101T000000.000Z-000000"
	if err := os.WriteFile(filepath.Join(dir, killed+".part"), append(data, `{"time":"2020-01-01T00:0`...), 0o600); err != nil {
		t.Fatal(err)
	}
	got := read(t, state, killed)
	if got.State != runs.Interrupted || len(got.Events) != len(stream.Events) || got.Damaged != 1 {
		t.Errorf("%s, %d events, %d damaged", got.State, len(got.Events), got.Damaged)
	}
}

func TestDamaged(t *testing.T) {
	state, dir := folder(t)
	const id = "20200101T000000.000Z-00000a"
	lines := "rubbish\n\x00\xff\n{}\n" + `{"time":"2020-01-01T00:00:00Z","event":"warning","text":"kept"}` + "\n[1]\n" + `{"time":"2020-01-01T00:00:01Z","event":"build_left","left":1e300}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, id+".jsonl"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	got := read(t, state, id)
	if len(got.Events) != 1 || got.Events[0].Text != "kept" || got.Damaged != 5 || got.State != runs.Interrupted {
		t.Errorf("%+v", got)
	}
}

// A state folder that came with a tree may hold links: none leads out of it.
func TestLinks(t *testing.T) {
	state, dir := folder(t)
	const id = "20200101T000000.000Z-00000b"
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, id+".jsonl")); err != nil {
		t.Fatal(err)
	}
	if ids, err := runs.List(state); err != nil || len(ids) != 0 {
		t.Errorf("%v, %v", ids, err)
	}
	if r, err := runs.Read(state, id); err == nil {
		t.Errorf("read %+v", r)
	}
}

func TestBounded(t *testing.T) {
	state, dir := folder(t)
	for i := range runs.KeptRuns + 5 {
		name := fmt.Sprintf("20200101T0000%02d.000Z-000000.jsonl", i)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stream := reporttest.Stream(reporttest.Options{Outputs: 1})
	end := stream.Events[len(stream.Events)-1]
	stream.Events = stream.Events[:len(stream.Events)-1]
	for range 320 { // 20 MiB
		stream.Events = append(stream.Events, events.Event{Time: time.Now(), Event: events.Warning, Text: strings.Repeat("x", 1<<16)})
	}
	record(dir, stream.ID, append(stream.Events, end))
	ids, err := runs.List(state)
	if err != nil || len(ids) != runs.KeptRuns || ids[0] != stream.ID {
		t.Errorf("%d runs, the newest %v, %v", len(ids), ids[:1], err)
	}
	info, err := os.Stat(filepath.Join(dir, stream.ID+".jsonl"))
	if err != nil || info.Size() > runs.MaxRun {
		t.Errorf("%v, %v", info, err)
	}
	got := read(t, state, stream.ID)
	lost := false
	for _, e := range got.Events {
		lost = lost || e.Event == events.Lost && *e.Events > 0
	}
	if !lost || got.State != runs.Ended {
		t.Errorf("%s; that events were dropped is told: %t", got.State, lost)
	}
}

func TestFind(t *testing.T) {
	state, dir := folder(t)
	if _, err := runs.Find(state, "last"); !errors.As(err, new(*runs.Missing)) {
		t.Errorf("in an empty folder: %v", err)
	}
	for _, id := range []string{"20200101T000000.000Z-00000a", "20200101T000001.000Z-00000b", "20200201T000000.000Z-00000c"} {
		if err := os.WriteFile(filepath.Join(dir, id+".jsonl"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for word, want := range map[string]string{"": "20200201", "last": "20200201", "20200101T000000": "20200101T000000", "20200201T": "20200201"} {
		if got, err := runs.Find(state, word); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%q is %q, %v", word, got, err)
		}
	}
	for _, word := range []string{"202001", "2021", "../runs"} {
		if got, err := runs.Find(state, word); !errors.As(err, new(*runs.Missing)) {
			t.Errorf("%q is %q, %v", word, got, err)
		}
	}
}
