package imagediff_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"codeberg.org/stagex/sx/cmd/internal/imagediff"
)

// Two images that differ in one respect have one difference, in that respect.
func TestOneRespect(t *testing.T) {
	first := func(m *model, name string) *file {
		for i := range m.layers[0] {
			if m.layers[0][i].Name == name {
				return &m.layers[0][i]
			}
		}
		panic(name)
	}
	for name, tt := range map[string]struct {
		change func(*model)
		what   imagediff.What
		path   string
		cause  string
	}{
		"added":        {func(m *model) { m.layers[0] = append(m.layers[0], regular("new", "x")) }, imagediff.Only, "new", ""},
		"removed":      {func(m *model) { m.layers[0] = m.layers[0][:6] }, imagediff.Only, "etc/c", ""},
		"type":         {func(m *model) { m.layers[0][3].Typeflag = tar.TypeFifo; m.layers[0][3].Name = "etc" }, imagediff.Type, "etc", ""},
		"mode":         {func(m *model) { first(m, "etc/a").Mode = 0o755 }, imagediff.Mode, "etc/a", ""},
		"umask":        {func(m *model) { first(m, "etc/a").Mode = 0o664 }, imagediff.Mode, "etc/a", "umask"},
		"setuid":       {func(m *model) { first(m, "etc/a").Mode = 0o4644 }, imagediff.Mode, "etc/a", ""},
		"uid":          {func(m *model) { first(m, "etc/a").Uid = 1000 }, imagediff.Owner, "etc/a", "user that built"},
		"a daemon's":   {func(m *model) { first(m, "etc/a").Uid = 33 }, imagediff.Owner, "etc/a", ""},
		"group name":   {func(m *model) { first(m, "etc/a").Gname = "wheel" }, imagediff.Owner, "etc/a", "user that built"},
		"mtime":        {func(m *model) { first(m, "etc/a").ModTime = time.Unix(1700000000, 0) }, imagediff.MTime, "etc/a", "timestamp"},
		"size":         {func(m *model) { *first(m, "etc/a") = regular("etc/a", "aa") }, imagediff.Content, "etc/a", ""},
		"content":      {func(m *model) { *first(m, "etc/a") = regular("etc/a", "x") }, imagediff.Content, "etc/a", ""},
		"link target":  {func(m *model) { first(m, "bin/t").Linkname = "other" }, imagediff.Link, "bin/t", ""},
		"order":        {func(m *model) { l := m.layers[0]; l[4], l[6] = l[6], l[4] }, imagediff.Order, "", "order of a folder, or parallel jobs"},
		"device":       {func(m *model) { m.layers[0] = append(m.layers[0], device(1)) }, imagediff.Device, "null", ""},
		"entry twice":  {func(m *model) { m.layers[0] = append(m.layers[0], regular("etc/c", "c")) }, imagediff.Only, "etc/c", ""},
		"name":         {func(m *model) { first(m, "etc/a").Name = "./etc/a" }, imagediff.Name, "etc/a", "the program that wrote the tar"},
		"gzip level":   {func(m *model) { m.pack = gzipped(gzip.Header{OS: 255}, gzip.NoCompression) }, imagediff.Compression, "", "compressor or its level"},
		"gzip time":    {func(m *model) { m.pack = gzipped(gzip.Header{OS: 255, ModTime: time.Unix(1700000000, 0)}, -1) }, imagediff.Compression, "", "timestamp"},
		"zstd":         {func(m *model) { m.pack = zstdPacked }, imagediff.Compression, "", "compressor or its level"},
		"not packed":   {func(m *model) { m.pack = bytes.Clone }, imagediff.Compression, "", "compressor or its level"},
		"padding":      {func(m *model) { m.after = string(make([]byte, 512)) }, imagediff.Archive, "", "the program that wrote the tar"},
		"format":       {func(m *model) { first(m, "etc/a").Format = tar.FormatGNU }, imagediff.Format, "etc/a", "the program that wrote the tar"},
		"layer":        {func(m *model) { m.layers = append(m.layers, []file{regular("x", "y")}) }, imagediff.Layer, "", ""},
		"env":          {func(m *model) { m.config["config"] = map[string]any{"Env": []string{"PATH=/usr/bin"}} }, imagediff.Config, ".config.Env[0]", ""},
		"config time":  {func(m *model) { m.config["created"] = "2024-05-06T07:08:09Z" }, imagediff.Config, ".created", "timestamp"},
		"history":      {func(m *model) { m.history[0]["created_by"] = "RUN x" }, imagediff.History, ".history[0].created_by", ""},
		"annotation":   {func(m *model) { m.annotations["org.opencontainers.image.version"] = "2" }, imagediff.Annotation, `.annotations["org.opencontainers.image.version"]`, ""},
		"a layer's":    {func(m *model) { m.layerNotes = map[string]string{"x": "y"} }, imagediff.Annotation, `.layers[0].annotations`, ""},
		"written":      {func(m *model) { m.manifest = func(b []byte) []byte { return append(b, '\n') } }, imagediff.Manifest, "", "the documents are written differently"},
		"xattr":        {func(m *model) { first(m, "etc/a").PAXRecords = map[string]string{"SCHILY.xattr.user.a": "1"} }, imagediff.XAttr, "etc/a", ""},
		"access time":  {func(m *model) { f := first(m, "etc/a"); f.Format = tar.FormatPAX; f.AccessTime = time.Unix(9, 0) }, imagediff.MTime, "etc/a", "timestamp"},
		"other record": {func(m *model) { first(m, "etc/a").PAXRecords = map[string]string{"VENDOR.x": "1"} }, imagediff.Format, "etc/a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := base(), base()
			if name == "device" {
				a.layers[0] = append(a.layers[0], device(3))
			}
			tt.change(b)
			for _, order := range [][2]*model{{a, b}, {b, a}} {
				got := compare(t, order[0].image(t, "a"), order[1].image(t, "b"))
				if len(got) != 1 || got[0].What != tt.what || got[0].Path != tt.path {
					t.Fatalf("got %+v, want one of %s in %q", got, tt.what, tt.path)
				}
				if got[0].Cause != tt.cause {
					t.Errorf("the cause is %q, want %q", got[0].Cause, tt.cause)
				}
			}
		})
	}
}

func device(minor int64) file {
	return file{Header: tar.Header{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: minor, Mode: 0o666, ModTime: epoch}}
}

func zstdPacked(plain []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(plain, nil)
}

func TestEqual(t *testing.T) {
	if got := compare(t, base().image(t, "a"), base().image(t, "b")); len(got) > 0 {
		t.Errorf("equal images differ: %+v", got)
	}
}

// A layer that one image has below the others makes none of them differ.
func TestLayersArePaired(t *testing.T) {
	a, b := base(), base()
	a.layers = append(a.layers, []file{regular("top", "x")})
	b.layers = append([][]file{{regular("below", "x")}}, a.layers...)
	got := compare(t, a.image(t, "a"), b.image(t, "b"))
	if len(got) != 1 || got[0].What != imagediff.Layer || got[0].A != "" || got[0].Layer != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestContents(t *testing.T) {
	a, b := base(), base()
	b.layers[0][1] = regular("bin/tool", "#!/bin/sh\necho blurt\nexit 0\n")
	c := compare(t, a.image(t, "a"), b.image(t, "b"))[0].Content
	want := imagediff.Contents{SizeA: 28, SizeB: 28, Offset: 16, Line: 2, Differ: 3, Regions: 1, A: "echo built", B: "echo blurt"}
	if c == nil || *c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
}

// Readings are told of each layer that is read, to its end; a second time if contents are.
func TestReading(t *testing.T) {
	a, b := base(), base()
	b.layers[0][4] = regular("etc/a", "x")
	x, y := a.image(t, "a"), b.image(t, "b")
	var r readings
	_, err := imagediff.Compare(context.Background(), x, y, imagediff.Options{TempDir: t.TempDir(), Reading: r.begin}, func(imagediff.Difference) error {
		if r.open != 0 {
			t.Errorf("a difference is told while %d layers are read", r.open)
		}
		return nil
	})
	slices.Sort(r.names)
	if got := strings.Join(r.names, "; "); err != nil || got != "A, layer 1; A, layer 1; B, layer 1; B, layer 1" || r.left != 0 || r.open != 0 {
		t.Errorf("got %v, %q, %d bytes left, %d open", err, got, r.left, r.open)
	}
}

// readings count what is begun, and what of it was not read.
type readings struct {
	mu    sync.Mutex
	names []string
	left  int64
	open  int
}

func (r *readings) begin(name string, size int64) imagediff.Reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names, r.left, r.open = append(r.names, name), r.left+size, r.open+1
	return r
}

func (r *readings) Add(n int64) { r.mu.Lock(); r.left -= n; r.mu.Unlock() }
func (r *readings) End()        { r.mu.Lock(); r.open--; r.mu.Unlock() }
