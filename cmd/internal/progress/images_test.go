package progress_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/preseed"
)

// playImages is a preseed with a bit of everything.
func playImages(s preseed.Status) {
	s.Begin(4)
	s.Done("core-musl", preseed.Present)
	s.Done("core-zlib", preseed.Kept)
	s.Start("core-gcc", "docker.io/stagex", 0, 10<<20)
	pass(2 * time.Second)
	s.Advance("core-gcc", 5<<20, 10<<20)
	s.Start("core-gcc", "docker.io/stagex", 5<<20, 20<<20)
	pass(2 * time.Second)
	s.Fail("core-gcc", "docker.io/stagex", errors.New("no byte for 30s"))
	s.Advance("core-gcc", 20<<20, 20<<20)
	s.Done("core-gcc", preseed.Fetched)
	s.Fail("core-rust", "", preseed.Failure{
		Image:    preseed.Image{Output: "core-rust"},
		Attempts: transfer.Attempts{{Place: "quay.io/stagex", Reason: errors.New("it does not have \x1b[2J")}},
	})
	s.End()
}

// imagesShown is all that a display of a mode writes of playImages.
func imagesShown(t *testing.T, mode progress.Mode) (all string) {
	synctest.Test(t, func(t *testing.T) {
		var w output
		d := open(t, &w, progress.Options{Mode: mode, Size: func() (int, int, bool) { return 80, 24, mode == progress.TTY }})
		playImages(d.Images())
		d.Close()
		all = w.take()
	})
	return all
}

func preseeded(t *testing.T) string { return imagesShown(t, progress.RawJSON) }

func TestImages(t *testing.T) {
	want := `preseeding 4 images
core-zlib: kept, because it was built here and is not the published image (rm -r out/core-zlib, then preseed, takes that one)
core-gcc: downloading 10MiB from docker.io/stagex
core-gcc: gave up docker.io/stagex: no byte for 30s
core-gcc: preseeded 20MiB in 4s (5MiB/s)
core-rust: failed
4 images: 1 present, 1 preseeded (20MiB), 1 kept, 1 failed
`
	if got := imagesShown(t, progress.Plain); got != want {
		t.Errorf("plain shows\n%s\nwant\n%s", got, want)
	}
	got := imagesShown(t, progress.Quiet)
	if got != "core-rust: failed\n" {
		t.Errorf("quiet shows\n%s", got)
	}
	if got := imagesShown(t, progress.TTY); !strings.Contains(got, "images 2/4") {
		t.Errorf("tty shows\n%q", got)
	}
}
