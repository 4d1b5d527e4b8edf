package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cache/memo"
	"codeberg.org/stagex/sx/cache/oci"
)

// childEnv makes the test binary a process that commits until it is killed.
const childEnv = "SX_TEST_CACHE_CHILD"

func TestMain(m *testing.M) {
	if tree := os.Getenv(childEnv); tree != "" {
		fmt.Fprintln(os.Stderr, commitForever(tree, os.Getenv(childEnv+"_SWAP")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Two outputs with a common blob, three versions of each.
var (
	killOutputs  = []string{"core-a", "core-b"}
	killVersions = []string{"one", "two", "three"}
)

func killImage(output, version string) *image {
	return buildImage("common", output+" "+version, string(bytes.Repeat([]byte(version), 1<<16)))
}

func commitForever(tree, swap string) error {
	s, err := Open(tree, Options{KeyFile: tree + ".key"})
	if err != nil {
		return err
	}
	if swap == "aside" {
		s.exchange = func(a, b string) error { return errors.ErrUnsupported }
	}
	for n := 0; ; n++ {
		for _, output := range killOutputs {
			if err := commitOnce(s, output, killVersions[n%len(killVersions)]); err != nil {
				return err
			}
		}
		fmt.Println("round") // tells the parent that there is something to kill
	}
}

func commitOnce(s *Store, output, version string) error {
	st, err := s.Stage(output)
	if err != nil {
		return err
	}
	i := killImage(output, version)
	for d, data := range i.blobs {
		if err := st.WriteBlob(d, int64(len(data)), bytes.NewReader(data)); err != nil {
			return err
		}
	}
	l, err := st.Commit(context.Background(), i.top.Descriptor, annotations)
	if err != nil {
		return err
	}
	r := Record{Output: output, Origin: BuiltHere, Manifests: l.Manifests}
	return errors.Join(s.PutRecord(r), s.WriteDigests(Published{output: l.Digest()}), s.stats.Save())
}

// kill -9 at any moment leaves the old or the new, and the next start nothing else.
func TestKill(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for _, swap := range []string{"exchange", "aside"} {
		t.Run(swap, func(t *testing.T) {
			tree := mkdir(t, t.TempDir(), "tree")
			for range rounds {
				killOnce(t, tree, swap)
				if swap == "exchange" {
					dead := &folders{tree: tree}
					stats := memo.NewStats("", disk.Key{}, time.Now, zap.NewNop())
					b := &blobs{folders: dead, stats: stats}
					checkKilled(t, &Store{folders: dead, blobs: b, outputs: &outputs{blobs: b}, swaps: &swaps{blobs: b}})
				}
				s := open(t, tree)
				checkKilled(t, s)
				checkStart(t, s)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// killOnce waits for a round of commits and kills at some point of the next ones.
func killOnce(t *testing.T, tree, swap string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+tree, childEnv+"_SWAP="+swap)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout := must(cmd.StdoutPipe())(t)
	must(0, cmd.Start())(t)
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Errorf("the child did not commit: %v: %s", err, &stderr)
	}
	<-time.After(rand.N(20 * time.Millisecond))
	must(0, cmd.Process.Kill())(t)
	cmd.Wait()
	if stderr.Len() > 0 {
		t.Errorf("the child failed: %s", &stderr)
	}
}

// checkKilled looks at what users see: out/ and digests/.
func checkKilled(t *testing.T, s *Store) {
	t.Helper()
	for _, output := range killOutputs {
		l, err := s.Verify(t.Context(), output)
		if err != nil {
			t.Errorf("after a kill: %v", err)
			continue
		}
		if got := files(t, s.Out(output)); len(got) != len(killImage(output, "one").blobs)+4 || !isVersion(output, l) {
			t.Errorf("after a kill: %s holds %d files, image %s", output, len(got), l.Digest())
		}
	}
	if got := must(os.ReadDir(filepath.Join(s.tree, "out")))(t); len(got) != len(killOutputs) {
		t.Errorf("after a kill: out/ holds %v", got)
	}
	if p, wrong := LoadDigests(os.DirFS(s.tree)); len(wrong) > 0 || len(p) != 1 {
		t.Errorf("after a kill: digests %v, %v", p, wrong)
	}
}

func isVersion(output string, l Layout) bool {
	for _, version := range killVersions {
		if killImage(output, version).top.Digest == l.Index {
			return true
		}
	}
	return false
}

// checkStart looks at the store after the next start.
func checkStart(t *testing.T, s *Store) {
	t.Helper()
	for _, output := range killOutputs {
		if _, err := s.Record(output); err != nil {
			t.Errorf("after a kill: %v", err)
		}
	}
	if left := len(files(t, s.Dir("tmp"))) + len(files(t, s.Dir("swap"))); left != 0 {
		t.Errorf("after a kill: %d files are left in tmp and swap", left)
	}
	for hex := range files(t, s.Dir("blobs", "sha256")) {
		d := must(oci.ParseHexDigest(hex))(t)
		if _, err := s.BlobPath(d); err != nil {
			t.Errorf("after a kill: %v", err)
		}
	}
	core, logs := observer.New(zap.WarnLevel)
	memo.NewStats(s.Dir("stats"), s.key, time.Now, zap.New(core)).Lookup(disk.Stamp{})
	for _, entry := range logs.All() {
		t.Errorf("after a kill: %s: %v", entry.Message, entry.ContextMap())
	}
	if _, err := s.Keys(func(string) bool { return true }); err != nil {
		t.Errorf("after a kill: %v", err)
	}
}
