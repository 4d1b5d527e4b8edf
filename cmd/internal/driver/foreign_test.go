package driver

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/graph"
)

// named gives each definition of that name an image of another registry.
func named(all []*plan.Step, names ...string) {
	for _, s := range all {
		if slices.Contains(names, s.Output.Ref.Name) {
			s.Output.Definition.Images = []graph.Image{{Name: s.Output.Ref.Name, Host: "registry.example", Repository: s.Output.Ref.Name}}
		}
	}
}

// A build waits for its own images and sources, in either order, and for no others.
func TestPrefetchWaitsForImages(t *testing.T) {
	m := newMirror(t, "late", "")
	all := m.sourced(t, "image:\nlate:\nother:\n")
	named(all, "image", "late")
	var r recorder
	s := r.Schedule(1)
	run, hold := s.Do, make(chan struct{})
	r.images = func(ctx context.Context, s *plan.Step) error {
		if s.Output.Ref.Name == "image" {
			<-hold
		}
		return nil
	}
	s.Do = func(ctx context.Context, on int, steps []*plan.Step, ended func(*plan.Step, bool)) bool {
		run(ctx, on, steps, ended)
		switch steps[0].Output.Ref.Name {
		case "other":
			close(hold)
		case "image":
			close(m.late["late"])
		}
		return false
	}
	if err := r.runWithDownloads(t, s, all, 4); err != nil {
		t.Fatal(err)
	}
	if got := started(r.Events); got != "other image late" {
		t.Errorf("started %s", got)
	}
}

func started(events []string) string {
	var names []string
	for _, e := range events {
		if name, ok := strings.CutPrefix(e, "start "); ok {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// An image that cannot be pulled fails its dependents and nothing else. An image of
// an output that is not certain to be built is pulled when the output must be built.
func TestPrefetchImageFailure(t *testing.T) {
	m := newMirror(t, "", "")
	all := m.sourced(t, "seed:\nbad: seed\nabove: bad\nsame: seed\nperhaps: seed\nother: seed\n")
	named(all, "bad", "same", "perhaps")
	for _, s := range all {
		if name := s.Output.Ref.Name; name == "same" || name == "perhaps" {
			s.Because = all[0].Output.Ref
		}
	}
	var r recorder
	s := r.Schedule(1)
	s.Skip = func(s *plan.Step, cause graph.Ref) { r.Add(0, "skip "+s.Output.Ref.Name+" for "+cause.Name) }
	r.images = func(ctx context.Context, s *plan.Step) error {
		r.Add(0, "pull "+s.Output.Ref.Name)
		if s.Output.Ref.Name == "bad" {
			return &ForeignError{s.Output.Definition.Images[0], errOffline}
		}
		return nil
	}
	err := r.runWithDownloads(t, s, all, 4)
	if failed := (*ForeignError)(nil); !errors.As(err, &failed) || !reportedBySteps(err) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"pull bad", "broken bad", "skip above for bad", "pull perhaps", "end perhaps", "end same", "end other"} {
		if !slices.Contains(r.Events, want) {
			t.Errorf("no %q in %q", want, r.Events)
		}
	}
	if slices.Contains(r.Events, "pull same") {
		t.Errorf("pulled although nothing is built from it: %q", r.Events)
	}
}

// A failure of this machine ends the run, even if images could not be pulled either.
func TestReportedBySteps(t *testing.T) {
	foreign := &ForeignError{graph.Image{}, errOffline}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, true}, {foreign, true}, {errors.Join(nil, foreign), true},
		{errors.Join(foreign, errors.New("the disk is full")), false}, {errors.New("the disk is full"), false},
	} {
		if got := reportedBySteps(c.err); got != c.want {
			t.Errorf("reportedBySteps(%v) = %v", c.err, got)
		}
	}
}
