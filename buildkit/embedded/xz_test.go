package embedded

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/xzheader"
	"codeberg.org/stagex/sx/graph"
)

// xzOptions are the ways to write an .xz file that a reader must tell apart.
var xzOptions = [][]string{
	{"-6"}, {"-0", "--check=crc32"}, {"-1e", "--check=sha256"}, {"-T2", "--block-size=65536"}, {"--check=none"},
	{"--x86", "--lzma2"}, {"--powerpc", "--lzma2"}, {"--ia64", "--lzma2"}, {"--arm", "--lzma2"}, {"--armthumb", "--lzma2"},
	{"--sparc", "--lzma2"}, {"--delta=dist=4", "--lzma2"}, {"--x86=start=4096", "--delta=dist=3", "--arm", "--lzma2=dict=1MiB"},
	{"--lzma2=dict=128MiB"},
}

// compress is what the real xz makes of plain.
func compress(t *testing.T, plain []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("xz", append(args, "-c")...)
	cmd.Stdin = bytes.NewReader(plain)
	packed, err := cmd.Output()
	if err != nil {
		t.Fatalf("xz %v: %v", args, err)
	}
	return packed
}

// machineCode is noise, repetition, and a program, which the filters for machine code change.
func machineCode(t *testing.T) []byte {
	t.Helper()
	noise := make([]byte, 1<<16)
	rand.NewChaCha8([32]byte{}).Read(noise)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(noise, code[:min(len(code), 1<<18)], []byte(strings.Repeat("again and again ", 1<<14)))
}

// xzMain reads what the real xz writes, with any of its checks, presets and filters.
func TestXZMain(t *testing.T) {
	plain := machineCode(t)
	for _, args := range xzOptions {
		packed := compress(t, plain, args...)
		var out, stderr bytes.Buffer
		if code := xzMain(bytes.NewReader(packed), &out, &stderr); code != 0 || !bytes.Equal(out.Bytes(), plain) {
			t.Errorf("xz %v: code %d, %d bytes of %d, %s", args, code, out.Len(), len(plain), &stderr)
		}
		out.Reset()
		two := slices.Concat(packed, make([]byte, 8), packed, make([]byte, 4)) // with stream padding
		if code := xzMain(bytes.NewReader(two), &out, &stderr); code != 0 || out.Len() != 2*len(plain) {
			t.Errorf("xz %v, twice: code %d, %d bytes, %s", args, code, out.Len(), &stderr)
		}
		flipped := bytes.Clone(packed)
		flipped[len(flipped)/2] ^= 1
		for i, broken := range [][]byte{packed[:len(packed)-9], packed[:len(packed)/2], plain[:100], nil, append(bytes.Clone(packed), "tail"...), flipped} {
			stderr.Reset()
			if i == 5 && args[0] == "--check=none" {
				continue // nothing can tell
			}
			if code := xzMain(bytes.NewReader(broken), &out, &stderr); code == 0 || !strings.HasPrefix(stderr.String(), "xz: ") {
				t.Errorf("xz %v: %d broken bytes: code %d, %s", args, len(broken), code, &stderr)
			}
		}
		h, err := xzheader.Read(bytes.NewReader(packed))
		if err != nil || h.Missing() != "" {
			t.Errorf("xz %v: header %v, lacks %q, %v", args, h, h.Missing(), err)
		}
	}
}

// Anything may stand in fetch/: the header is read or refused.
func FuzzXZHeader(f *testing.F) {
	for _, h := range []xzheader.Header{{Check: 4, Filters: []xzheader.Filter{{ID: xzheader.LZMA2, Props: "\x16"}}}, {Check: 1, Filters: []xzheader.Filter{{ID: xzheader.Delta, Props: "\x03"}, {ID: 0x0b, Props: ""}, {ID: xzheader.LZMA2, Props: "\x16"}}}} {
		f.Add(xzheader.Sample(h))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := xzheader.Read(bytes.NewReader(data))
		if err == nil && (len(h.Filters) == 0 || len(h.Filters) > 4) {
			t.Errorf("%d filters", len(h.Filters))
		}
		var out bytes.Buffer
		if err != nil && xzMain(bytes.NewReader(data), &out, &bytes.Buffer{}) == 0 && out.Len() > 0 {
			t.Errorf("%v, and yet it holds %d bytes", err, out.Len())
		}
	})
}

// The sample for any filters is one that an xz with these filters unpacks, and only
// such a one.
func TestSampleXZ(t *testing.T) {
	for _, args := range xzOptions {
		want, err := xzheader.Read(bytes.NewReader(compress(t, []byte("x"), args...)))
		if err != nil {
			t.Fatal(err)
		}
		sample := xzheader.Sample(want)
		got, err := xzheader.Read(bytes.NewReader(sample))
		if err != nil || got.String() != want.String() || got.Check != want.Check {
			t.Errorf("xz %v: the sample's header is %v, want %v: %v", args, got, want, err)
		}
		cmd := exec.Command("xz", "-d", "-c", "-q")
		cmd.Stdin = bytes.NewReader(sample)
		if out, err := cmd.Output(); err != nil || !bytes.Equal(out, xzheader.SampleTar()) {
			t.Errorf("xz %v: the real xz makes %d bytes of the sample: %v", args, len(out), err)
		}
		var out bytes.Buffer
		if xzMain(bytes.NewReader(sample), &out, &out) != 0 || !bytes.Equal(out.Bytes(), xzheader.SampleTar()) {
			t.Errorf("xz %v: xzMain makes %q of the sample", args, &out)
		}
	}
}

// The embedded engine refuses what its xz cannot unpack, and only if an ADD names it.
func TestUnknownXZFilter(t *testing.T) {
	riscv := xzheader.Sample(xzheader.Header{Check: 4, Filters: []xzheader.Filter{{ID: 0x0b, Props: ""}, {ID: xzheader.LZMA2, Props: "\x16"}}})
	x86 := xzheader.Sample(xzheader.Header{Check: 4, Filters: []xzheader.Filter{{ID: 0x04, Props: ""}, {ID: xzheader.LZMA2, Props: "\x16"}}})
	source := t.TempDir() + "/s-1.tar.xz"
	if err := os.WriteFile(source, riscv, 0o644); err != nil {
		t.Fatal(err)
	}
	b := &buildkit.Builder{Engine: &Engine{}}
	for file, refused := range map[string]string{
		"ADD fetch/s-1.tar.xz /":                "fetch/s-1.tar.xz is compressed with the filter riscv",
		"ADD --chmod=0755 fetch/*.xz /":         "riscv",
		"ARG V=1\nADD fetch/s-$V.tar.?z /":      "riscv",
		"ARG V=1\nADD ./fetch/s-${V:-2}* /":     "riscv",
		"ADD [\"/own.xz\", \"/\"]":              "own.xz is compressed",
		"ADD fetch /":                           "", // a folder is copied
		"COPY fetch/s-1.tar.xz own.xz /":        "",
		"ADD --unpack=false fetch/s-1.tar.xz /": "",
		"ADD x86.xz no.xz /":                    "",
	} {
		job := buildkit.Job{Sources: []buildkit.SourceFile{{Name: "s-1.tar.xz", Path: source}}, Files: []graph.File{
			{Path: "Containerfile", Mode: 0o644, Data: []byte("FROM scratch\n" + file + "\n")},
			{Path: "own.xz", Mode: 0o644, Data: riscv}, {Path: "x86.xz", Mode: 0o644, Data: x86},
			{Path: "no.xz", Mode: 0o644, ModTime: time.Time{}, Data: riscv[:20]},
		}}
		err := b.CheckArchives(context.Background(), job)
		var unfit *buildkit.UnfitError
		switch {
		case refused == "" && err != nil:
			t.Errorf("%s: %v", file, err)
		case refused != "" && (!errors.As(err, &unfit) || !strings.Contains(err.Error(), refused)):
			t.Errorf("%s: %v, want one about %q", file, err, refused)
		}
	}
}
