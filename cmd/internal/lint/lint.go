package lint

import (
	"cmp"
	"context"
	"io/fs"
	"path"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"codeberg.org/stagex/sx/graph"
)

// Subject is what is checked.
type Subject struct {
	Tree        fs.FS
	Definitions []*graph.Definition // loaded without a graph.Memory, so that they hold their files
	Broken      []*graph.Broken
	Graph       *graph.Graph
	Folders     bool // look for folders that are no definitions, too
}

// Run returns the findings in the definitions, sorted, without those that files silence.
func Run(ctx context.Context, s Subject) ([]Finding, error) {
	perDefinition := make([][]Finding, len(s.Definitions))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, d := range s.Definitions {
		group.Go(func() (err error) {
			if err = context.Cause(ctx); err == nil {
				perDefinition[i], err = s.definition(ctx, d)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(perDefinition...)
	for _, b := range s.Broken {
		for _, e := range b.Errors {
			all = append(all, found(brokenDefinition, e.File, e.Line, "%v", e.Err))
		}
	}
	if s.Folders {
		folders, err := s.folders()
		if err != nil {
			return nil, err
		}
		all = append(all, folders...)
	}
	slices.SortFunc(all, compare)
	return slices.Compact(all), nil
}

// definition checks one definition.
func (s Subject) definition(ctx context.Context, d *graph.Definition) ([]Finding, error) {
	m, err := readManifest(d)
	if err != nil {
		return nil, err
	}
	c, err := readContainerfile(d)
	if err != nil {
		return nil, err
	}
	findings, err := s.buildkit(ctx, d)
	if err != nil {
		return nil, err
	}
	used, err := s.wordsOfFolder(d)
	if err != nil {
		return nil, err
	}
	findings = append(findings, m.check()...)
	findings = append(findings, c.unusedSources()...)
	findings = append(findings, c.args(s.Graph, used)...)
	findings = append(findings, c.stageOrder(s.Graph)...)
	findings = append(findings, c.network()...)
	silent := map[string]silence{
		d.Dir + "/package.toml":  readSilence(d.PackageTOML),
		d.Dir + "/Containerfile": readSilence(d.Containerfile),
	}
	return slices.DeleteFunc(findings, func(f Finding) bool { return silent[f.File].has(f.Rule) }), nil
}

// folders finds folders with a Containerfile and without package.toml.
func (s Subject) folders() (all []Finding, err error) {
	for _, stage := range graph.Stages {
		entries, err := fs.ReadDir(s.Tree, path.Join("packages", stage))
		if err != nil {
			continue // a tree need not have all stages
		}
		for _, e := range entries {
			dir := path.Join("packages", stage, e.Name())
			if !e.IsDir() || exists(s.Tree, dir+"/package.toml") || !exists(s.Tree, dir+"/Containerfile") {
				continue
			}
			data, err := fs.ReadFile(s.Tree, dir+"/Containerfile")
			if err != nil {
				return nil, err
			}
			if !readSilence(data).has(noPackageTOML) {
				all = append(all, found(noPackageTOML, dir+"/Containerfile", 0, "the folder %s has no package.toml", dir))
			}
		}
	}
	return all, nil
}

func exists(tree fs.FS, name string) bool {
	info, err := fs.Lstat(tree, name)
	return err == nil && info.Mode().IsRegular()
}

// lineOf is 1 if a line is not known, so that an annotation has a place.
func lineOf(line int) int { return cmp.Or(line, 1) }
