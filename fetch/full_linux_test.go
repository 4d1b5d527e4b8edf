package fetch

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A full disk is said once, ends the run, and spoils nothing.
func TestDiskFull(t *testing.T) {
	full := smallDisk(t, "1m")
	w := newWorld(t)
	w.opts.TempDir = full
	var sources []Source
	for i := range 20 {
		site := serveFile(t, noise(uint64(i), 4<<20))
		sources = append(sources, source(fmt.Sprint(i), noise(uint64(i), 4<<20), site.URL, site.URL+"/b"))
	}
	_, err := w.run(sources...)
	var e *Error
	var disk *DiskError
	if !errors.As(err, &e) || !errors.As(e.Stopped, &disk) || len(e.Failures) != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Run: %v, want an *Error with a *DiskError", err)
	}
	if want := fmt.Sprintf("writing %q: no space left on device", full); err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	w.wantFiles("fetch")
	w.wantNoise(full)
}

// TempDir on another filesystem: the file is copied, still whole or not there.
func TestAcrossFilesystems(t *testing.T) {
	w := newWorld(t)
	w.opts.TempDir = smallDisk(t, "8m")
	data := noise(1, 1<<20)
	a, b := source("a", data, serveFile(t, data).URL), source("b", data)
	w.write("fetch/core/x/.sx-a", []byte("left by a killed run"))
	w.write(a.Path, []byte("wrong"))
	w.must(a, b)
	w.wantFiles("fetch", "core/x/a", "core/x/b")
	left, _ := os.ReadDir(w.opts.TempDir)
	if len(left) != 1 || left[0].Name() != wrongOf([]byte("wrong")) {
		t.Errorf("left in TempDir: %v, want the wrong file", left)
	}
}

// The tree's disk is full, TempDir's is not.
func TestTreeFull(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 4<<20)
	os.MkdirAll(filepath.Join(w.dir, "fetch"), 0o755)
	mount(t, filepath.Join(w.dir, "fetch"), "1m")
	s := source("a", data, serveFile(t, data).URL)
	_, err := w.run(s)
	var disk *DiskError
	if !errors.As(err, &disk) || disk.Path != s.Path {
		t.Errorf("Run: %v, want a *DiskError for %q", err, s.Path)
	}
	w.wantFiles("fetch")
	if info, err := os.Stat(filepath.Join(w.dir, ".sx/fetch", s.Hash.String()+".part")); err != nil || info.Size() != 4<<20 {
		t.Errorf("the download was lost: %v", err)
	}
}

// What is missing can be listed where nothing can be written.
func TestOfflineReadOnly(t *testing.T) {
	w := newWorld(t)
	w.opts.Offline = true
	mount(t, w.dir, "1m")
	s, wrong := source("a", noise(1, 100)), source("b", noise(2, 100))
	w.part(s, []byte("half"))
	w.write(wrong.Path, []byte("wrong"))
	if err := unix.Mount("", w.dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := w.run(s, wrong)
	var off *OfflineError
	if !errors.As(err, &off) || len(off.Missing) != 2 {
		t.Errorf("Run: %v, want an *OfflineError with 2 missing", err)
	}
}

// smallDisk is a filesystem of that size.
func smallDisk(t *testing.T, size string) string {
	dir := t.TempDir()
	mount(t, dir, size)
	return dir
}

// mount puts an empty filesystem of that size over dir. That is root's.
func mount(t *testing.T, dir, size string) {
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0755")
	if errors.Is(err, unix.EPERM) {
		t.Skip("this user may not mount; TestDiskError covers what does not need it")
	}
	if err != nil {
		t.Fatalf("mounting %q: %v", dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %q: %v", dir, err)
		}
	})
}

// wantNoise checks that partial files are what sources 0 to 19 begin with.
func (w *world) wantNoise(dir string) {
	w.t.Helper()
	for i := range 20 {
		data := noise(uint64(i), 4<<20)
		s := source("", data)
		got, err := os.ReadFile(filepath.Join(dir, s.Hash.String()+".part"))
		if err == nil && !bytes.Equal(got, data[:len(got)]) {
			w.t.Errorf("partial file %d holds other bytes", i)
		}
	}
}

// The table of a run that only the disk stopped is not even a header.
func TestNoTableOfAFullDisk(t *testing.T) {
	var b bytes.Buffer
	err := &Error{Total: 3, Stopped: &DiskError{Path: "tmp", Err: unix.ENOSPC}}
	if err.Table(&b); b.Len() != 0 {
		t.Errorf("table %q, want none", b.String())
	}
	if want := `writing "tmp": no space left on device`; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestDiskError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	p := &part{f: full, sum: sha256.New(), temp: &temp{path: "tmp", max: 1 << 30}}
	_, err = p.Write([]byte("x"))
	var disk *DiskError
	if !errors.As(err, &disk) || disk.Path != "tmp" {
		t.Errorf("writing to a full disk: %v", err)
	}
	if p.size != 0 || p.temp.used != 0 {
		t.Errorf("counted %d, %d bytes that are not there", p.size, p.temp.used)
	}
}
