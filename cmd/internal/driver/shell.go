package driver

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// ShellJob returns the build of o for platforms as it stands: its sources must be in
// fetch/ and its dependencies in out/. Nothing of it is recorded.
func ShellJob(v *tree.View, o *graph.Output, platforms []string) (buildkit.Job, error) {
	snap, err := v.Snapshot(o.Definition)
	if err != nil {
		return buildkit.Job{}, err
	}
	job := buildkit.Job{Ref: o.Ref, Request: o.Request(platforms), Files: snap.Files, Deps: map[string]cache.Layout{}}
	for _, s := range o.Definition.Sources {
		path := filepath.Join(v.Dir, filepath.FromSlash(s.Path))
		if _, err := fs.Stat(v.FS, s.Path); err != nil {
			return job, fmt.Errorf("the source %s is not there: sx fetch %s", s.Path, o)
		}
		job.Sources = append(job.Sources, buildkit.SourceFile{Name: s.File, Path: path, Hash: s.Hash})
	}
	for _, d := range o.Inputs() {
		l, err := v.Check(d)
		if errors.Is(err, fs.ErrNotExist) {
			return job, fmt.Errorf("the dependency %s is not in out/: sx build %s, or sx preseed %s", d, d, d)
		} else if err != nil {
			return job, fmt.Errorf("out/%s is damaged: %w; sx build %s repairs it", d, err, d)
		}
		job.Deps[d.String()] = l
	}
	job.Images, err = pulledImages(v.Store, job.Request)
	return job, err
}
