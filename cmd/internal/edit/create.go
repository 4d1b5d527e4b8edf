package edit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/graph"
)

// Folder is a definition that is not written yet.
type Folder struct {
	Dir   string       // "packages/user/x"
	Files []graph.File // sorted by path
	Notes []string     // places to check by hand
}

// toFill is the value of a field to fill in by hand; package lint finds it.
const toFill = "TODO"

// Create prepares a new definition: a copy of the one in the folder from, with another
// name and its description, license and website to fill in, or a skeleton if from is
// "". It refuses a name that is taken, and a definition that the loader of package
// graph finds broken.
func (t Tree) Create(ctx context.Context, tree fs.FS, ref graph.Ref, from string) (*Folder, error) {
	g, err := t.Load(ctx, nil) // with the files of each definition
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: "packages/" + ref.Stage + "/" + ref.Name}
	if err := f.free(tree, g, ref); err != nil {
		return nil, err
	}
	if from == "" {
		f.skeleton(g, ref)
	} else if err := f.copy(tree, g, ref, from); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, file := range f.Files {
		if file.Mode.IsRegular() {
			files[f.Dir+"/"+file.Path] = file.Data
		}
	}
	if g, err = t.Load(ctx, files); err == nil {
		_, err = definition(g, f.Dir)
	}
	return f, err
}

// free returns an error if the folder or the output exists.
func (f *Folder) free(tree fs.FS, g *graph.Graph, ref graph.Ref) error {
	if _, err := fs.Lstat(tree, f.Dir); err == nil {
		return &graph.FileError{File: f.Dir, Err: errors.New("exists already")}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if o := g.Output(ref); o != nil {
		return &graph.FileError{File: o.Definition.Dir, Err: fmt.Errorf("has the output %s already", ref)}
	}
	return nil
}

// copy takes the files of another definition.
func (f *Folder) copy(tree fs.FS, g *graph.Graph, ref graph.Ref, from string) error {
	d, err := definition(g, from)
	if err != nil {
		return err
	}
	files, err := graph.Snapshot(tree, d)
	if err != nil {
		return err
	}
	f.Files = files
	for i := range f.Files {
		if f.Files[i].Path == "package.toml" {
			if f.Files[i].Data, err = f.rename(d, ref); err != nil {
				return &graph.FileError{File: from + "/package.toml", Err: err}
			}
		}
	}
	return nil
}

// rename returns the package.toml of another definition with this one's name.
func (f *Folder) rename(d *graph.Definition, ref graph.Ref) ([]byte, error) {
	text, err := ParseText(d.PackageTOML)
	if err != nil {
		return nil, err
	}
	if err := text.Set(ref.Name, "package", "name"); err != nil {
		return nil, err
	}
	for _, key := range []string{"description", "license", "website"} {
		if err := text.Set(toFill, "package", key); err != nil {
			return nil, err
		}
	}
	if text.Line("package", "subpackages") > 0 {
		text.remove("package", "subpackages")
		f.Notes = append(f.Notes, fmt.Sprintf("%s/package.toml has no subpackages: those of %s have their names already", f.Dir, d.Dir))
	}
	return text.Bytes()
}

// base is the output in which a skeleton of the stages pallet and user is built, if the
// tree has it.
var base = graph.Ref{Stage: "pallet", Name: "clang-gnu-busybox"}

// skeleton makes a definition with one source that is built by configure and make.
func (f *Folder) skeleton(g *graph.Graph, ref graph.Ref) {
	build, image := "scratch", "scratch"
	if g.Output(base) != nil && slices.Index(graph.Stages, ref.Stage) >= slices.Index(graph.Stages, base.Stage) {
		build = "stagex/" + base.String()
	}
	if filesystem := (graph.Ref{Stage: "core", Name: "filesystem"}); g.Output(filesystem) != nil && ref.Stage != "bootstrap" {
		image = "stagex/" + filesystem.String()
	}
	containerfile := strings.NewReplacer("NAME", ref.Name, "BUILD", build, "IMAGE", image).Replace(skeletonContainerfile)
	manifest := strings.NewReplacer("NAME", ref.Name, "HASH", unknownHash).Replace(skeletonManifest)
	f.Files = []graph.File{
		{Path: "Containerfile", Mode: 0o644, Data: []byte(containerfile)},
		{Path: "package.toml", Mode: 0o644, Data: []byte(manifest)},
	}
	if build == "scratch" {
		f.Notes = append(f.Notes, f.Dir+"/Containerfile has an empty stage build: copy a compiler, a shell and make into it (COPY --from=stagex/…)")
	}
}

const skeletonManifest = `[package]
name = "NAME"
version = "TODO"
description = "TODO"
license = "TODO"
website = "TODO"

[sources.NAME]
hash = "HASH"
format = "tar.gz"
file = "NAME-{version}.{format}"
mirrors = ["https://TODO/{file}"]
`

const skeletonContainerfile = `FROM BUILD AS build
ARG VERSION
ADD fetch/NAME-${VERSION}.tar.gz .
WORKDIR /NAME-${VERSION}
ENV SOURCE_DATE_EPOCH=1
RUN --network=none <<-EOF
	set -eux
	./configure --prefix=/usr
	make -j "$(nproc)"
	make DESTDIR=/rootfs install
EOF

FROM IMAGE AS package
COPY --from=build /rootfs/ /
`

// Write makes the folder in the tree at root, completely or not at all. It replaces
// nothing. The folder tmp is for incomplete files; see [File.Write].
func (f *Folder) Write(root, tmp string) error {
	err := f.writeBy(root, tmp)
	if elsewhere(err, tmp) {
		err = f.writeBy(root, filepath.Join(root, "packages"))
	}
	if err != nil {
		return fmt.Errorf("writing %q: %w", f.Dir, err)
	}
	return nil
}

func (f *Folder) writeBy(root, tmp string) error {
	temp, lock, err := disk.ClaimDir(tmp, ".sx-")
	if err != nil {
		return err
	}
	defer lock.Close()
	defer os.RemoveAll(temp)
	made := filepath.Join(temp, path.Base(f.Dir))
	if err := f.fill(made); err != nil {
		return err
	}
	target := filepath.Join(root, filepath.FromSlash(f.Dir))
	if err := makeStage(filepath.Dir(target)); err != nil {
		return err
	}
	if _, err := os.Lstat(target); err == nil {
		return fs.ErrExist
	}
	if err := os.Rename(made, target); err != nil { // at most onto an empty folder
		return err
	}
	return disk.SyncDir(filepath.Dir(target))
}

// makeStage makes the folder of the stage.
func makeStage(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// fill writes the files below dir.
func (f *Folder) fill(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, file := range f.Files {
		name := filepath.Join(dir, filepath.FromSlash(file.Path))
		var err error
		switch {
		case file.Mode.IsDir():
			err = os.Mkdir(name, 0o755)
		case file.Mode&fs.ModeSymlink != 0:
			err = os.Symlink(file.Link, name)
		default:
			err = disk.WriteNew(name, file.Data, file.Mode.Perm())
		}
		if err != nil {
			return err
		}
	}
	return disk.SyncDir(dir)
}
