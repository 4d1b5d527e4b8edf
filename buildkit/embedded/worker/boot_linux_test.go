package worker

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"
)

// stateIn opens and closes the state of an engine in dir, and returns its folder.
func stateIn(t *testing.T, dir string) string {
	t.Helper()
	w, err := Open(Options{Dir: dir, Snapshotter: "native"})
	mustDo(t, err)
	mustDo(t, w.Close())
	return w.Root
}

// bootTest needs what an engine's state is made of.
func bootTest(t *testing.T) (dir string) {
	t.Helper()
	if os.Getenv("SX_TEST_NO_ENGINE") == "1" {
		t.Skip("SX_TEST_NO_ENGINE=1: the engine is not tested")
	}
	logrus.SetOutput(io.Discard) // as sx does
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	return t.TempDir()
}

// A state outlives its engine, however that ended, but no restart of the machine,
// no lost mark and no removal that was cut short.
func TestStateIsOfOneBoot(t *testing.T) {
	dir := bootTest(t)
	root := stateIn(t, dir)
	witness, marked := filepath.Join(root, "snapshots", "witness"), filepath.Join(root, markName)
	for _, c := range []struct {
		what string
		do   func() error
		want bool // the state stays
	}{
		{"nothing", func() error { return nil }, true},
		{"another boot", func() error { return os.WriteFile(marked, []byte("5ca1ab1e-0000-4000-8000-000000000000"), 0o600) }, false},
		{"no mark", func() error { return os.Remove(marked) }, false},
		{"an empty mark", func() error { return os.Truncate(marked, 0) }, false},
		{"a removal that was cut short", func() error { return Unmark(dir) }, false},
	} {
		mustDo(t, os.WriteFile(witness, nil, 0o600))
		mustDo(t, c.do())
		if got := stateIn(t, dir); got != root {
			t.Fatalf("%s: the state moved to %q", c.what, got)
		}
		if _, err := os.Stat(witness); (err == nil) != c.want {
			t.Errorf("%s: the state stays: %t", c.what, err == nil)
		}
		id, err := bootID()
		mustDo(t, err)
		if text, err := os.ReadFile(marked); err != nil || string(text) != id {
			t.Errorf("%s: it is marked %q, %v; this is %q", c.what, text, err, id)
		}
	}
}

// The mark is on the disk before there is anything that it could be wrong about, and
// none of the databases is synced.
func TestMarkedFirst(t *testing.T) {
	root := t.TempDir()
	mustDo(t, sameBoot(root))
	entries, err := os.ReadDir(root)
	mustDo(t, err)
	if len(entries) != 1 || entries[0].Name() != markName {
		t.Errorf("there is %v in a new state", entries)
	}
	db, err := openDB(filepath.Join(root, contentDB))
	mustDo(t, err)
	defer db.Close()
	mustDo(t, db.View(func(tx *bolt.Tx) error {
		if !tx.DB().NoSync || !tx.DB().NoGrowSync {
			t.Error("a database is synced")
		}
		return nil
	}))
}

// A power cut keeps, loses or tears any page of any file, and any name in a folder:
// whatever is left, the next engine starts, and with nothing of it.
func TestPowerCut(t *testing.T) {
	dir := bootTest(t)
	template := stateIn(t, dir)
	files := stateFiles(t, template)
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		mustDo(t, removeState(template))
		mustDo(t, os.MkdirAll(filepath.Join(template, "snapshots"), 0o700))
		mustDo(t, os.WriteFile(filepath.Join(template, "snapshots", "witness"), nil, 0o600))
		for name, data := range files {
			if r.IntN(8) == 0 {
				continue // its name was not written
			}
			mustDo(t, os.WriteFile(filepath.Join(template, name), torn(r, data), 0o600))
		}
		mark := []string{"", "5ca1ab1e-0000-4000-8000-000000000000", "gone"}[r.IntN(3)]
		os.Remove(filepath.Join(template, markName))
		if mark != "gone" {
			mustDo(t, os.WriteFile(filepath.Join(template, markName), []byte(mark), 0o600))
		}
		if err := sameBoot(template); err == nil || !strings.Contains(err.Error(), "started again") {
			t.Fatalf("seed %d: the state is believed: %v", seed, err)
		}
		if seed%20 > 0 {
			continue
		}
		if got := stateIn(t, dir); got != template {
			t.Fatalf("seed %d: the state moved to %q", seed, got)
		}
		if left, _ := os.ReadDir(filepath.Join(template, "snapshots")); hasName(left, "witness") {
			t.Fatalf("seed %d: something of the state is left", seed)
		}
	}
}

// stateFiles are the files right in the folder of a state.
func stateFiles(t *testing.T, root string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(root)
	mustDo(t, err)
	files := map[string][]byte{}
	for _, e := range entries {
		if !e.Type().IsRegular() || e.Name() == markName {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, e.Name()))
		mustDo(t, err)
		files[e.Name()] = data
	}
	for _, db := range []string{cacheDB, contentDB, historyDB, refsDB} {
		if len(files[db]) == 0 {
			t.Fatalf("there is no %s in %q", db, root)
		}
	}
	return files
}

// torn is data with pages that were never written, that are of another place, or cut.
func torn(r *rand.Rand, data []byte) []byte {
	const page = 4096
	out := append([]byte(nil), data...)
	for at := 0; at+page <= len(out); at += page {
		switch r.IntN(4) {
		case 0:
			clear(out[at : at+page])
		case 1:
			from := r.IntN(len(data)/page) * page
			copy(out[at:at+page], data[from:])
		}
	}
	if r.IntN(4) == 0 {
		out = out[:r.IntN(len(out)+1)]
	}
	return out
}

func hasName(entries []fs.DirEntry, name string) bool {
	for _, e := range entries {
		if e.Name() == name {
			return true
		}
	}
	return false
}

// A database that is never synced has, after kill -9 at any moment, all that its
// engine was told is written.
func TestKilledDatabase(t *testing.T) {
	if to := os.Getenv("SX_TEST_KILLED_DB"); to != "" { // killed, it could not remove a folder
		writeUntilKilled(t, to)
	}
	path := filepath.Join(t.TempDir(), "killed.db")
	for round := range 20 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledDatabase$")
		cmd.Env = append(os.Environ(), "SX_TEST_KILLED_DB="+path)
		told, err := cmd.StdoutPipe()
		mustDo(t, err)
		mustDo(t, cmd.Start())
		lines, last := bufio.NewScanner(told), 0
		for n := 1 + rand.IntN(200); n > 0 && lines.Scan(); n-- {
			last, err = strconv.Atoi(lines.Text())
			mustDo(t, err)
		}
		mustDo(t, cmd.Process.Kill())
		for lines.Scan() {
			if n, err := strconv.Atoi(lines.Text()); err == nil { // a line may be cut
				last = max(last, n)
			}
		}
		cmd.Wait()
		db, err := openDB(path)
		mustDo(t, err)
		mustDo(t, db.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				t.Errorf("round %d: %v", round, err)
			}
			if got := tx.Bucket([]byte("n")).Sequence(); got < uint64(last) {
				t.Errorf("round %d: %d transactions were written, of %d", round, got, last)
			}
			return nil
		}))
		mustDo(t, db.Close())
	}
}

// writeUntilKilled tells the number of each transaction once it is written.
func writeUntilKilled(t *testing.T, path string) {
	db, err := openDB(path)
	mustDo(t, err)
	for {
		var n uint64
		mustDo(t, db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("n"))
			if err != nil {
				return err
			}
			if n, err = b.NextSequence(); err != nil {
				return err
			}
			return b.Put(fmt.Append(nil, n%97), make([]byte, n%9000))
		}))
		fmt.Println(n)
	}
}
