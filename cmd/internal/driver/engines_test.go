package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/cmd/internal/fleet"
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/schedule"
	"codeberg.org/stagex/sx/cmd/internal/tree"
)

// place is an engine of a fleet, to which builds are answered at once.
type place struct {
	address string
	tree    *tree.Tree
	probe   string        // "": StageX's
	absent  error         // of every try to reach it
	lacks   string        // a platform
	dies    int           // with so many builds, and comes back
	kills   bool          // each build ends it
	gone    bool          // once it died, it does not come back
	full    bool          // its disk
	lies    string        // about this output
	hold    chan struct{} // a build waits for it
	alone   bool          // it is the machine of a pool

	mu    sync.Mutex
	built []string
	dead  bool
}

// alone is a pool of one machine.
type alone struct{ *place }

func (a alone) Machines(int) []buildkit.Engine { return []buildkit.Engine{a.place} }

func (p *place) Kind() string                                    { return "tcp" }
func (p *place) String() string                                  { return p.address }
func (p *place) Connect(context.Context) (*buildkit.Conn, error) { return nil, nil }

// dial opens a connection as [buildkit.Open] does.
func (p *place) dial() (builder, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead && p.gone {
		return nil, &buildkit.EngineError{Engine: p.address, Problem: "it is gone", Remedy: "wait"}
	}
	p.dead = false
	return &link{instant{p.tree}, p}, p.absent
}

// link is a connection to a place.
type link struct {
	instant
	*place
}

func (l *link) Kind() string                                    { return "tcp" }
func (l *link) Connect(context.Context) (*buildkit.Conn, error) { return nil, nil }
func (l *link) Elsewhere() bool                                 { return true }

func (l *link) Lost(context.Context) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *link) CheckPlatforms(_ context.Context, platforms []string) error {
	if slices.Contains(platforms, l.lacks) {
		return errors.New("it does not run " + l.lacks)
	}
	return nil
}

func (l *link) Probe(ctx context.Context, into *cache.Staging) (oci.Digest, error) {
	if l.probe != "" {
		return oci.DigestOf([]byte(l.probe)), nil
	}
	return l.instant.Probe(ctx, into)
}

func (l *link) Build(ctx context.Context, job buildkit.Job) (*buildkit.Image, error) {
	if l.hold != nil {
		<-l.hold
	}
	l.mu.Lock()
	if l.dies > 0 {
		if l.dies--; l.dies == 0 {
			l.dead = true
		}
	}
	l.dead = l.dead || l.kills
	dead := l.dead
	if !dead {
		l.built = append(l.built, job.Ref.String())
	}
	l.mu.Unlock()
	switch {
	case dead:
		return nil, &buildkit.LostError{Err: errors.New("broken pipe")}
	case l.full:
		return nil, errors.New("writing a layer: no space left on device")
	}
	if l.lies == job.Ref.Name {
		return instantImage(job, l.instant, "a lie")
	}
	return l.instant.Build(ctx, job)
}

// said keeps what a run tells.
type said struct {
	unseen
	mu       *sync.Mutex
	warnings *[]string
	started  map[string]string // by output: the engines that began to build it
}

func (s said) Warn(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.warnings = append(*s.warnings, text)
}

func (s said) Start(step *plan.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started[step.Output.Ref.Name] = strings.TrimSpace(s.started[step.Output.Ref.Name] + " " + step.Engine)
}

// buildOn builds the whole tree on places, with two jobs each.
func buildOn(t *testing.T, p *pretender, opts Options, places ...*place) (*Report, said, error) {
	t.Helper()
	view := p.open()
	by := map[string]*place{}
	for i, at := range places {
		at.tree, at.address = view.Tree, fmt.Sprintf("tcp://e%d:1", i)
		by[at.address] = at
		m := fleet.Member{Name: fmt.Sprintf("e%d", i), Engine: at}
		if at.alone {
			m.Engine = alone{at}
		}
		opts.Engines = append(opts.Engines, m)
	}
	tells := said{mu: new(sync.Mutex), warnings: new([]string), started: map[string]string{}}
	opts.Version, opts.Status, opts.Offline = "test", tells, true
	opts.Capacity = func() schedule.Capacity { return schedule.Capacity{Jobs: 2} }
	opts.dial = func(m fleet.Member) (builder, error) { return by[m.Address()].dial() }
	report, err := Build(t.Context(), view, view.Graph.All(), opts)
	return report, tells, err
}

// wide is a tree of outputs that can be built at once, and one above them.
func wide(t *testing.T) *pretender {
	lines := []string{"seed:"}
	top := "top:"
	for i := range 12 {
		lines = append(lines, fmt.Sprintf("w%d: seed", i))
		top += fmt.Sprintf(" w%d", i)
	}
	return newPretender(t, append(lines, top)...)
}

func wantBuilt(t *testing.T, report *Report, err error, n int) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Count(plan.Built); got != n {
		for _, r := range report.Results {
			if r.Err != nil {
				t.Error(r.Ref, r.Err)
			}
		}
		t.Errorf("%d built, want %d", got, n)
	}
}

func quickPauses(t *testing.T) {
	was := reopenWaits
	reopenWaits = []time.Duration{time.Millisecond, time.Millisecond, 5 * time.Millisecond}
	t.Cleanup(func() { reopenWaits = was })
}

// Several engines share the outputs, and each build names the engine that it runs on.
func TestFleetShares(t *testing.T) {
	a, b := &place{}, &place{}
	report, tells, err := buildOn(t, wide(t), Options{}, a, b)
	wantBuilt(t, report, err, 14)
	if len(a.built) == 0 || len(b.built) == 0 || len(a.built)+len(b.built) != 14 {
		t.Errorf("built %v and %v", a.built, b.built)
	}
	if report.Plan.Engine != "e0 (tcp://e0:1), e1 (tcp://e1:1)" {
		t.Errorf("the plan names %q", report.Plan.Engine)
	}
	for output, on := range tells.started {
		if on != "e0" && on != "e1" {
			t.Errorf("%s was built on %q", output, on)
		}
	}
}

// What an engine was building when it died is built by another, and once it is back it
// builds again.
func TestFleetLosesAnEngine(t *testing.T) {
	quickPauses(t)
	for _, gone := range []bool{false, true} {
		a, b := &place{dies: 3, gone: gone}, &place{}
		report, tells, err := buildOn(t, wide(t), Options{Reconnect: time.Minute}, a, b)
		wantBuilt(t, report, err, 14)
		if text := strings.Join(*tells.warnings, "\n"); !strings.Contains(text, "the engine e0 (tcp://e0:1) was lost; the others build what it was building") {
			t.Errorf("warnings: %s", text)
		}
	}
}

// A pool of one machine has no others.
func TestFleetOfOne(t *testing.T) {
	quickPauses(t)
	report, tells, err := buildOn(t, wide(t), Options{Reconnect: time.Minute}, &place{dies: 3, alone: true})
	wantBuilt(t, report, err, 14)
	if text := strings.Join(*tells.warnings, "\n"); !strings.Contains(text, "e0 (tcp://e0:1) was lost; what it was building begins again once it is back") {
		t.Errorf("warnings: %s", text)
	}
}

// An engine that makes other bytes builds nothing, and the user is told.
func TestFleetRefusesOtherProbe(t *testing.T) {
	a, b := &place{probe: "other"}, &place{}
	report, tells, err := buildOn(t, wide(t), Options{}, a, b)
	wantBuilt(t, report, err, 14)
	if len(a.built) > 0 {
		t.Errorf("the engine with another probe built %v", a.built)
	}
	if text := strings.Join(*tells.warnings, "\n"); !strings.Contains(text, "e0 (tcp://e0:1) builds nothing more in this run: the engine e0 (tcp://e0:1) does not produce StageX's bytes") {
		t.Errorf("warnings: %s", text)
	}
}

// If no engine can be reached, the error names each trouble once, and no warning speaks of
// others that build.
func TestFleetOfNone(t *testing.T) {
	quickPauses(t)
	absent := &buildkit.EngineError{Engine: "x", Problem: "nothing listens there", Remedy: "start it"}
	_, tells, err := buildOn(t, wide(t), Options{Reconnect: time.Minute}, &place{absent: absent}, &place{absent: absent}, &place{probe: "other"})
	if err == nil || strings.Count(err.Error(), "nothing listens") != 1 || !strings.Contains(err.Error(), "does not produce StageX's bytes") {
		t.Errorf("error %v", err)
	}
	if text := strings.Join(*tells.warnings, "\n"); strings.Contains(text, "nothing listens") {
		t.Errorf("warnings: %s", text)
	}
	// If one is there, the others that are not are told of once.
	_, tells, err = buildOn(t, wide(t), Options{Reconnect: time.Minute}, &place{absent: absent}, &place{absent: absent}, &place{})
	if text := strings.Join(*tells.warnings, "\n"); err != nil || strings.Count(text, "nothing listens there; start it; sx tries again while the other engines build") != 1 {
		t.Errorf("error %v, warnings: %s", err, text)
	}
}

// If all engines go away and none comes back, the run ends and says so.
func TestFleetLosesAll(t *testing.T) {
	quickPauses(t)
	_, _, err := buildOn(t, wide(t), Options{Reconnect: 20 * time.Millisecond}, &place{dies: 2, gone: true}, &place{dies: 2, gone: true})
	if !errors.As(err, new(*EngineGoneError)) {
		t.Errorf("error %v", err)
	}
}

// A build that ends each engine that it runs on is given up after three.
func TestFleetGivesUpABuild(t *testing.T) {
	quickPauses(t)
	report, _, err := buildOn(t, newPretender(t, "killer:"), Options{Reconnect: time.Minute}, &place{kills: true}, &place{kills: true})
	if err != nil || len(report.Results) != 1 || report.Results[0].Outcome != plan.Failed {
		t.Fatalf("%+v, %v", report.Results, err)
	}
	if text := report.Results[0].Err.Error(); !strings.Contains(text, "at each of 3 tries") {
		t.Error(text)
	}
}

// An engine whose disk is full takes no further part; what it was building is built
// elsewhere.
func TestFleetFullDisk(t *testing.T) {
	a, b := &place{full: true}, &place{}
	report, tells, err := buildOn(t, wide(t), Options{}, a, b)
	wantBuilt(t, report, err, 14)
	if text := strings.Join(*tells.warnings, "\n"); !strings.Contains(text, "e0 (tcp://e0:1) builds nothing more in this run") {
		t.Errorf("warnings: %s", text)
	}
}

// A binding sends outputs to the engines that it names, and no others; what no engine may
// build fails with a reason, before anything else is built for it.
func TestFleetBindings(t *testing.T) {
	a, b := &place{}, &place{}
	bound := Options{Bindings: fleet.Bindings{{Pattern: "core-w*", Engines: []string{"e1"}}, {Pattern: "core-w1*", Engines: []string{"e0"}}}}
	report, tells, err := buildOn(t, wide(t), bound, a, b)
	wantBuilt(t, report, err, 14)
	for output, on := range tells.started {
		want := on
		if strings.HasPrefix(output, "w1") {
			want = "e0"
		} else if strings.HasPrefix(output, "w") {
			want = "e1"
		}
		if on != want {
			t.Errorf("%s was built on %s", output, on)
		}
	}
	none := Options{KeepGoing: true, Bindings: fleet.Bindings{{Pattern: "core-w3", Engines: []string{"elsewhere"}}}}
	report, _, err = buildOn(t, wide(t), none, &place{}, &place{})
	if err != nil || report.Count(plan.Built) != 12 || report.Count(plan.Failed) != 1 || report.Count(plan.Skipped) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, r := range report.Results {
		if r.Outcome == plan.Failed && !strings.Contains(r.Err.Error(), "no engine can build it:\n  e0 (tcp://e0:1): stagex.toml does not let it build this") {
			t.Error(r.Err)
		}
	}
}

// An engine that does not run a platform gets no outputs for it.
func TestFleetPlatforms(t *testing.T) {
	a, b := &place{lacks: "linux/amd64"}, &place{}
	report, _, err := buildOn(t, wide(t), Options{}, a, b)
	wantBuilt(t, report, err, 14)
	if len(a.built) > 0 {
		t.Errorf("it built %v", a.built)
	}
	report, _, err = buildOn(t, wide(t), Options{KeepGoing: true}, &place{lacks: "linux/amd64"}, &place{lacks: "linux/amd64"})
	if err != nil || report.Count(plan.Failed) != 14 {
		t.Errorf("%+v, %v", report.Results, err)
	}
}
