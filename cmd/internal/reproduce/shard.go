package reproduce

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"codeberg.org/stagex/sx/graph"
)

// Shard is a part of the outputs to reproduce: the Number-th of Of, from 1. The zero Shard
// is all of them.
type Shard struct{ Number, Of int }

// ParseShard reads "3/8".
func ParseShard(text string) (s Shard, err error) {
	n, err := fmt.Sscanf(text, "%d/%d", &s.Number, &s.Of)
	if err != nil || n != 2 || text != s.String() || s.Number < 1 || s.Of < s.Number || s.Of > 10_000 {
		return Shard{}, fmt.Errorf("want a shard such as 3/8, not %.40q", text)
	}
	return s, nil
}

// String returns "3/8".
func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.Number, s.Of) }

// Part returns the outputs of refs that belong to s, sorted. The outputs of a definition
// stay together, because they share its compile; the longest goes first to the shard with
// the least time so far. Whoever has the same refs and the same times gets the same parts;
// an output without a time counts as the average of the others.
func (s Shard) Part(g *graph.Graph, refs []graph.Ref, times map[string]time.Duration) (part []graph.Ref) {
	if s.Of == 0 {
		return refs
	}
	type family struct {
		refs []graph.Ref
		took time.Duration
	}
	var families []*family
	of := map[*graph.Definition]*family{}
	average := averageOf(refs, times)
	sorted := slices.Clone(refs)
	slices.SortFunc(sorted, graph.Ref.Compare)
	for _, ref := range sorted {
		d := g.Output(ref).Definition
		if of[d] == nil {
			of[d] = &family{}
			families = append(families, of[d])
		}
		of[d].refs = append(of[d].refs, ref)
		of[d].took = max(of[d].took, cmp.Or(times[ref.String()], average))
	}
	slices.SortStableFunc(families, func(a, b *family) int { return cmp.Compare(b.took, a.took) })
	loads := make([]time.Duration, s.Of)
	for _, f := range families {
		least := 0
		for i := range loads {
			if loads[i] < loads[least] {
				least = i
			}
		}
		loads[least] += f.took
		if least == s.Number-1 {
			part = append(part, f.refs...)
		}
	}
	slices.SortFunc(part, graph.Ref.Compare)
	return part
}

// averageOf returns the average time of refs that have one, or a minute.
func averageOf(refs []graph.Ref, times map[string]time.Duration) time.Duration {
	sum, n := time.Duration(0), 0
	for _, ref := range refs {
		if t := times[ref.String()]; t > 0 {
			sum, n = sum+t, n+1
		}
	}
	if n == 0 {
		return time.Minute
	}
	return sum / time.Duration(n)
}
