package preseed

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"codeberg.org/stagex/sx/cache"
)

// child is the variable that makes the test binary a preseed of its own.
const child = "SX_TEST_PRESEED"

type childArgs struct {
	Tree     string
	Registry Registry
	Images   []Image
}

func TestMain(m *testing.M) {
	text := os.Getenv(child)
	if text == "" {
		os.Exit(m.Run())
	}
	var args childArgs
	if err := json.Unmarshal([]byte(text), &args); err != nil {
		panic(err)
	}
	store, err := cache.Open(args.Tree, cache.Options{KeyFile: args.Tree + ".key"})
	if err != nil {
		panic(err)
	}
	_, err = Run(context.Background(), args.Images, Options{
		Store: store, Registries: []Registry{args.Registry}, Client: ClientOptions{Keychain: anonymous{}, PerHost: 2},
	})
	if err = errors.Join(err, store.Stats().Save()); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// A preseed that is killed at any moment leaves whole layouts or none, keeps what
// came, and the next one finishes.
func TestKilled(t *testing.T) {
	s := newServer(t)
	var images []image
	shared := noise(99, 1<<20)
	for i := range 6 {
		images = append(images, s.publish("core-"+string(rune('a'+i)), shared, noise(uint64(i), 1<<20)))
	}
	real := s.real
	sent := &counter{}
	s.real = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		real.ServeHTTP(&slowly{w, sent}, r)
	})
	tree, _ := newTree(t)
	args := childArgs{tree, s.registry(), wanted(images...)}
	text, _ := json.Marshal(args)
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), child+"="+string(text))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	midway := 0
	for range 12 {
		cmd := start()
		time.Sleep(time.Duration(rand.IntN(250)) * time.Millisecond) // the moment is the test's input
		cmd.Process.Kill()
		cmd.Wait()
		if n := sent.get(); n > 0 && n < 7<<20 {
			midway++
		}
		store := openStore(t, tree)
		for _, img := range images {
			l, err := store.Verify(t.Context(), img.output)
			if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && l.Digest() != img.digest() {
				t.Fatalf("after a kill: %v, %v", l.Digest(), err)
			}
		}
	}
	if err := start().Wait(); err != nil {
		t.Fatal(err)
	}
	store := openStore(t, tree)
	for _, img := range images {
		if _, err := store.Verify(t.Context(), img.output); err != nil {
			t.Error(err)
		}
		if rec, err := store.Record(img.output); err != nil || rec.Origin != cache.Preseeded || !strings.Contains(rec.From, "/") {
			t.Errorf("%s: %+v, %v", img.output, rec, err)
		}
	}
	// 7 MiB are all there is. What the dead had not yet read was sent in vain: less
	// than what fits into the buffers of a connection, each time.
	if total := sent.get(); total > 7<<20+12*1<<20 {
		t.Errorf("%d MiB were sent for 7", total>>20)
	}
	if midway == 0 {
		t.Error("no kill came in the middle")
	}
	t.Logf("%d KiB were sent for %d; %d kills in the middle", sent.get()>>10, 7<<10, midway)
}
