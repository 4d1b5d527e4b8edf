package unused

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Try builds without some lines, by their numbers in a list, and returns why that is not
// the same: "" if all digests are those with all lines. An error ends the search.
type Try func(ctx context.Context, without []int) (why string, err error)

// Found is what became of a line. It is printed as JSON, and only gains fields.
type Found struct {
	Line
	// Unused: the line can go, together with all others that are.
	Unused bool `json:"unused"`
	// Why it must stay if the unused lines go.
	Why string `json:"why,omitempty"`
	// Alone: the line could go if the unused ones stayed.
	Alone bool `json:"alone,omitempty"`
}

// search is a search for lines that can go.
type search struct {
	build Try
	mu    sync.Mutex
	built map[string]string // what build returned for lines that were left out

	jobs  int
	told  func(Found) // about each line, in its turn, and again if what is known of it changes
	found []Found
	gone  []int
}

// Search finds lines that can go together. It tries each alone, up to jobs at once, then all
// that can go alone together, or where that is too much one after the other; and begins
// again with what is left, because a line may be needed only for another that is gone. So no
// single line that is left can go besides. told is called with what was found, not
// concurrently.
func Search(ctx context.Context, lines []Line, jobs int, try Try, told func(Found)) ([]Found, error) {
	s := &search{build: try, built: map[string]string{}, jobs: max(jobs, 1), told: told}
	for _, l := range lines {
		s.found = append(s.found, Found{Line: l})
	}
	for round := 0; ; round++ {
		fits, err := s.each(ctx, round)
		if err != nil {
			return nil, err
		}
		if len(fits) == 0 {
			return s.found, nil
		}
		if err := s.join(ctx, fits); err != nil {
			return nil, err
		}
	}
}

// left returns the lines that are not gone.
func (s *search) left() (left []int) {
	for n, f := range s.found {
		if !f.Unused {
			left = append(left, n)
		}
	}
	return left
}

// each tries each line that is left, besides what is gone, and returns those that can go.
func (s *search) each(ctx context.Context, round int) (fits []int, err error) {
	left := s.left()
	why := make([]string, len(left))
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(s.jobs)
	for i, n := range left {
		eg.Go(func() (err error) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			why[i], err = s.try(ctx, s.with(n))
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	for i, n := range left {
		switch {
		case why[i] == "":
			fits = append(fits, n)
		case round == 0:
			s.found[n].Why = why[i]
			s.told(s.found[n])
		case !s.found[n].Alone:
			s.found[n].Why = why[i]
		}
	}
	return fits, nil
}

// try builds without some lines, once.
func (s *search) try(ctx context.Context, without []int) (why string, err error) {
	key := fmt.Sprint(without)
	s.mu.Lock()
	why, known := s.built[key]
	s.mu.Unlock()
	if known {
		return why, nil
	}
	if why, err = s.build(ctx, without); err == nil {
		s.mu.Lock()
		s.built[key] = why
		s.mu.Unlock()
	}
	return why, err
}

func (s *search) with(more ...int) []int {
	all := slices.Concat(s.gone, more)
	slices.Sort(all)
	return all
}

// join takes away as many of the lines that can go alone as can go together.
func (s *search) join(ctx context.Context, fits []int) error {
	if len(fits) > 1 {
		why, err := s.try(ctx, s.with(fits...))
		if err != nil {
			return err
		}
		if why == "" {
			s.take(fits...)
			return nil
		}
	}
	s.take(fits[0])
	for _, n := range fits[1:] {
		why, err := s.try(ctx, s.with(n))
		if err != nil {
			return err
		}
		if why == "" {
			s.take(n)
			continue
		}
		s.found[n].Alone, s.found[n].Why = true, fmt.Sprintf("only if one of the unused lines stays: %s", why)
		s.told(s.found[n])
	}
	return nil
}

func (s *search) take(lines ...int) {
	for _, n := range lines {
		s.found[n] = Found{Line: s.found[n].Line, Unused: true}
		s.told(s.found[n])
	}
	s.gone = s.with(lines...)
}
