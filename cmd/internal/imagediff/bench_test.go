package imagediff_test

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"

	"codeberg.org/stagex/sx/cache/oci"
)

// BenchmarkDiff compares made images with sx (SX names the program) and, for those that
// take others no day, with diffoscope (DIFFOSCOPE). Beside the time it reports
//
//	s       until the tool is done
//	user-s  of processor time, of all its processes
//	sys-s   the same, in the kernel
//	peak-MB of memory, of its largest process
//
// and logs what the tool printed, cut. scripts/bench diff installs what it needs and runs
// it; docs/diff.md has a table of the results.
func BenchmarkDiff(b *testing.B) {
	for _, s := range []struct {
		name        string
		files, size int
		reorder     bool
	}{
		{"1GB-one-file-differs", 20_000, 50 << 10, false},
		{"2GB-million-entries-reordered", 1_000_000, 1500, true},
	} {
		b.Run(s.name, func(b *testing.B) {
			dir := b.TempDir()
			for _, side := range []string{"a", "b"} {
				m := made{dir: filepath.Join(dir, side), files: s.files, size: s.size}
				if side == "b" {
					m.reorder, m.edit = s.reorder, !s.reorder
				}
				if err := m.write(); err != nil {
					b.Fatal(err)
				}
			}
			b.Run("sx", func(b *testing.B) { runPeer(b, "SX", dir, "diff", "./a", "./b") })
			if !s.reorder {
				b.Run("diffoscope", func(b *testing.B) {
					runPeer(b, "DIFFOSCOPE", dir, "--no-progress", "--text", "-", "a.tar.gz", "b.tar.gz")
				})
			}
		})
	}
}

// runPeer measures the program that a variable names, in the folder that has the images
// a and b.
func runPeer(b *testing.B, variable, dir string, args ...string) {
	program := os.Getenv(variable)
	if program == "" {
		b.Skip(variable + " names no program")
	}
	var peak, user, system float64
	for b.Loop() {
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
		out, err := cmd.CombinedOutput()
		if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
			b.Fatalf("%v: %s", err, out)
		}
		b.Logf("%.1500s", out)
		used := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		peak = max(peak, float64(used.Maxrss)/1e3) // kilobytes
		user += cmd.ProcessState.UserTime().Seconds()
		system += cmd.ProcessState.SystemTime().Seconds()
	}
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(user/float64(b.N), "user-s")
	b.ReportMetric(system/float64(b.N), "sys-s")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
	b.ReportMetric(0, "ns/op")
}

// made is an image of one layer, to be written: an OCI layout in dir, and beside it its
// layer, dir.tar.gz, for a tool that reads no layout.
type made struct {
	dir         string
	files, size int  // of each file, in bytes
	reorder     bool // its files
	edit        bool // one byte, mode and time
}

func (m made) write() error {
	blobs := filepath.Join(m.dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	layer := m.dir + ".tar.gz"
	l, diffID, err := m.layer(layer)
	if err != nil {
		return err
	}
	put := func(mediaType string, v any) (oci.Descriptor, error) {
		data, err := json.Marshal(v)
		d := oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(data), Size: int64(len(data))}
		return d, errors.Join(err, os.WriteFile(filepath.Join(blobs, d.Digest.Hex()), data, 0o644))
	}
	config, err := put(oci.MediaTypeConfig, map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{}, "created": "1970-01-01T00:00:01Z",
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + diffID}},
	})
	if err != nil {
		return err
	}
	manifest, err := put(oci.MediaTypeManifest, map[string]any{
		"schemaVersion": 2, "mediaType": oci.MediaTypeManifest, "config": config, "layers": []oci.Descriptor{l},
	})
	if err != nil {
		return err
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []oci.Descriptor{manifest}})
	return errors.Join(err, os.WriteFile(filepath.Join(m.dir, "index.json"), index, 0o644),
		os.WriteFile(filepath.Join(m.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644),
		os.Link(layer, filepath.Join(blobs, l.Digest.Hex())))
}

// layer writes the layer into a file, packed by gzip at its default level.
func (m made) layer(file string) (d oci.Descriptor, diffID string, err error) {
	f, err := os.Create(file)
	if err != nil {
		return d, "", err
	}
	defer f.Close()
	sum, diff := sha256.New(), sha256.New()
	out := &counter{w: io.MultiWriter(f, sum)}
	z := gzip.NewWriter(out)
	plain := bufio.NewWriterSize(io.MultiWriter(z, diff), 1<<20)
	if err := errors.Join(m.entries(plain), plain.Flush(), z.Close()); err != nil {
		return d, "", err
	}
	digest, err := oci.ParseHexDigest(hexSum(sum))
	return oci.Descriptor{MediaType: oci.MediaTypeLayer, Digest: digest, Size: out.n}, hexSum(diff), err
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// entries writes the files: half noise and half words, about as programs compress.
func (m made) entries(out io.Writer) error {
	w := tar.NewWriter(out)
	order := make([]int, m.files)
	for i := range order {
		order[i] = i
	}
	if m.reorder {
		r := rand.New(rand.NewPCG(1, 2))
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for _, i := range order {
		data := content(i, m.size)
		h := &tar.Header{Name: fmt.Sprintf("usr/lib/%02x/package-%d/file%d", i%251, i%4099, i), Mode: 0o644, Size: int64(len(data)), ModTime: epoch}
		if m.edit && i == m.files/2 {
			data[len(data)/2] ^= 1
			h.Mode, h.ModTime = 0o755, epoch.AddDate(1, 0, 0)
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return w.Close()
}

// content is the i-th file's.
func content(i, size int) []byte {
	noise := rand.New(rand.NewPCG(uint64(i), 7))
	data := make([]byte, 0, size+16)
	for len(data) < size/2 {
		n := noise.Uint64()
		data = append(data, byte(n), byte(n>>8), byte(n>>16), byte(n>>24), byte(n>>32), byte(n>>40), byte(n>>48), byte(n>>56))
	}
	for len(data) < size {
		data = fmt.Appendf(data, "word%d ", noise.IntN(1<<10))
	}
	return data[:size]
}
