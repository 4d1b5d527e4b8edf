package driver

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/plan/plantest"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/graph"
)

// mirror serves the name of each source as its content: those named in late only
// after their channel is closed, those in missing never.
type mirror struct {
	*httptest.Server
	late map[string]chan struct{}
	mu   sync.Mutex
	got  []string
	asks chan string // each of got, as it comes
}

func newMirror(t *testing.T, late, missing string) *mirror {
	t.Helper()
	m := &mirror{late: map[string]chan struct{}{}, asks: make(chan string, 64)}
	for _, name := range strings.Fields(late) {
		m.late[name] = make(chan struct{})
	}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		m.mu.Lock()
		m.got = append(m.got, name)
		m.mu.Unlock()
		m.asks <- name
		if slices.Contains(strings.Fields(missing), name) {
			http.NotFound(w, r)
			return
		}
		if wait := m.late[name]; wait != nil {
			select {
			case <-wait:
			case <-r.Context().Done():
				return
			}
		}
		w.Write([]byte(name))
	}))
	t.Cleanup(m.Close)
	return m
}

// wait returns when a source has been requested.
func (m *mirror) wait(t *testing.T, name string) {
	late := time.After(10 * time.Second)
	for {
		select {
		case asked := <-m.asks:
			if asked == name {
				return
			}
		case <-late:
			t.Errorf("%s was never asked for", name)
			return
		}
	}
}

// sourced is plantest.FamilyOf, with a source named like it for each definition.
func (m *mirror) sourced(t *testing.T, text string) []*plan.Step {
	t.Helper()
	all := plantest.FamilyOf(t, text)
	for _, s := range all {
		d := s.Output.Definition
		d.Sources = []graph.Source{{
			Key: "main", File: "main", Path: "fetch/core/" + d.Name + "/main",
			Hash: graph.Hash(sha256.Sum256([]byte(d.Name))), Mirrors: []string{m.URL + "/" + d.Name},
		}}
	}
	return all
}

// runWithDownloads runs the steps, and the downloads into a new tree at the same
// time.
func (r *recorder) runWithDownloads(t *testing.T, s *schedule.Schedule, all []*plan.Step, jobs int) error {
	t.Helper()
	broken := map[string]error{}
	var mu sync.Mutex
	a := newPrefetcher(s, all, func(s *plan.Step, err error) {
		mu.Lock()
		defer mu.Unlock()
		broken[s.Output.Ref.Name] = err
	}, r.images)
	run := s.Do
	s.Do = func(ctx context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
		mu.Lock()
		err := broken[steps[0].Output.Ref.Name]
		mu.Unlock()
		if err == nil {
			run(ctx, on, steps, ended)
			return false
		}
		for _, s := range steps {
			r.Add(0, "broken "+s.Output.Ref.Name)
			ended(s, false)
		}
		return false
	}
	s.Claim = func(u *schedule.Unit) func(context.Context) { return a.claimSources(u, r.needed) }
	ctx, cancel := context.WithCancel(t.Context())
	o := fetch.Options{Tree: t.TempDir(), Jobs: jobs, Retries: -1, Status: quietSources{}}
	fetched, served := make(chan error), make(chan error)
	go func() { fetched <- a.download(ctx, o) }()
	go func() { served <- a.serveRequired(ctx, o) }()
	s.Run(ctx)
	err := <-fetched
	cancel()
	return errors.Join(err, <-served)
}

// needed reports false for steps whose name begins with "same".
func (r *recorder) needed(s *plan.Step) bool { return !strings.HasPrefix(s.Output.Ref.Name, "same") }

type quietSources = transfer.Silent[fetch.Source]

// A build starts as soon as its own sources are present, before the other downloads
// end.
func TestPrefetchStartsEarly(t *testing.T) {
	m := newMirror(t, "slow", "")
	all := m.sourced(t, "slow:\nfirst.a:\nfirst.b:\nsecond: first.a\nthird: second\nlast: slow\n")
	var r recorder
	s := r.Schedule(1)
	run := s.Do
	s.Do = func(ctx context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
		run(ctx, on, steps, ended)
		if steps[0].Output.Ref.Name == "third" {
			close(m.late["slow"])
		}
		return false
	}
	if err := r.runWithDownloads(t, s, all, 2); err != nil {
		t.Fatal(err)
	}
	var started []string
	for _, e := range r.Events {
		if name, ok := strings.CutPrefix(e, "start "); ok {
			started = append(started, name)
		}
	}
	if got := strings.Join(started, " "); got != "first.a first.b second third slow last" {
		t.Errorf("started %s", got)
	}
}

// Downloads start in the order in which the builds will need them.
func TestPrefetchOrder(t *testing.T) {
	m := newMirror(t, "", "")
	var r recorder
	if err := r.runWithDownloads(t, r.Schedule(1), m.sourced(t, "slow:\nfirst.a:\nfirst.b:\nsecond: first.a\nthird: second\nlast: slow\n"), 1); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(m.got, " "); got != "first second slow last third" {
		t.Errorf("downloaded in the order %s", got)
	}
}

// Sources of a unit that is not certain to be built are downloaded when it must be,
// with those of its dependents, and otherwise not at all.
func TestPrefetchOnDemand(t *testing.T) {
	m := newMirror(t, "", "")
	all := m.sourced(t, "seed:\nsame: seed\nsame2: same\nother.a: seed\nother.b: seed\nnext: other.b\nafter: next\n")
	for _, s := range all[1:] {
		s.Because = s.Output.Deps[0]
	}
	var r recorder
	s := r.Schedule(2)
	run := s.Do
	s.Do = func(ctx context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
		if steps[0].Output.Ref.Name == "other.a" {
			m.wait(t, "next") // fetched while this runs
		}
		run(ctx, on, steps, ended)
		return false
	}
	if err := r.runWithDownloads(t, s, all, 1); err != nil {
		t.Fatal(err)
	}
	slices.Sort(m.got)
	if got := strings.Join(m.got, " "); got != "after next other seed" {
		t.Errorf("downloaded %s", got)
	}
	for _, s := range all {
		if !slices.Contains(r.Events, "end "+s.Output.Ref.Name) {
			t.Errorf("%s did not run: %s", s.Output.Ref, r.Events)
		}
	}
}

// A source that cannot be fetched fails its dependents at once, and nothing else; if
// its output is not certain to be built, when that output must be built.
func TestPrefetchFailure(t *testing.T) {
	m := newMirror(t, "", "top perhaps")
	all := m.sourced(t, "seed:\ntop: seed\nabove: top\nperhaps: seed\nother: seed\n")
	all[1].Expected = time.Hour
	all[3].Because = all[0].Output.Ref
	var r recorder
	s := r.Schedule(1)
	run, top := s.Do, make(chan struct{})
	s.Skip = func(s *plan.Step, cause graph.Ref) {
		r.Add(0, "skip "+s.Output.Ref.Name+" for "+cause.Name)
		close(top)
	}
	s.Do = func(ctx context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
		if steps[0].Output.Ref.Name == "seed" {
			<-top
		}
		run(ctx, on, steps, ended)
		return false
	}
	err := r.runWithDownloads(t, s, all, 4)
	var failed *fetch.Error
	if !errors.As(err, &failed) || len(failed.Failures) != 1 || !reportedBySteps(err) {
		t.Fatalf("error %v", err)
	}
	got := strings.Join(r.Events, ", ")
	for _, want := range []string{"broken top, skip above for top, start seed, end seed", "end other", "broken perhaps"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}
