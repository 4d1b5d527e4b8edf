package signature

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

func TestReadFiles(t *testing.T) {
	dir := ImagePath(image.Repository, image.Digest)
	folder := fstest.MapFS{
		dir + "/signature-10":   {Data: []byte("ten")},
		dir + "/signature-2":    {Data: []byte("two")},
		dir + "/signature-02":   {Data: []byte("no name")},
		dir + "/signature-0":    {Data: []byte("no name")},
		dir + "/signature-3":    {Data: make([]byte, MaxFile+1)},
		dir + "/README":         {Data: []byte("no name")},
		dir + "/signature-4/me": {Data: []byte("in a folder")},
	}
	files, err := ReadFiles(folder, image.Repository, image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, fmt.Sprint(f.Name, " ", string(f.Data[:min(len(f.Data), 3)]), " ", f.Err))
	}
	want := "signature-2 two <nil>; signature-3  it has more than 1 MiB; signature-4  it is not a regular file; signature-10 ten <nil>"
	if strings.Join(got, "; ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "; "), want)
	}
	if n, err := NextNumber(folder, image.Repository, image.Digest); n != 11 || err != nil {
		t.Error(n, err)
	}
	if n, err := NextNumber(folder, "stagex/none", image.Digest); n != 1 || err != nil {
		t.Error(n, err)
	}
	if files, err := ReadFiles(folder, "stagex/none", image.Digest); len(files) > 0 || err != nil {
		t.Error(files, err)
	}
}

// A checkout of the signatures repository and a tree that has it inside are read alike.
func TestReadFilesOfCheckout(t *testing.T) {
	for _, place := range []string{"", "signatures/"} {
		folder := fstest.MapFS{place + ImagePath(image.Repository, image.Digest) + "/signature-1": {Data: []byte("one")}}
		if files, err := ReadFiles(folder, image.Repository, image.Digest); err != nil || len(files) != 1 {
			t.Error(place, files, err)
		}
	}
}

func TestReadFilesBound(t *testing.T) {
	folder := fstest.MapFS{}
	for n := range 3 * MaxFiles {
		folder[ImagePath(image.Repository, image.Digest)+"/"+FileName(n+1)] = &fstest.MapFile{Data: []byte("x")}
	}
	files, err := ReadFiles(folder, image.Repository, image.Digest)
	if err != nil || len(files) != MaxFiles+1 || !strings.Contains(files[MaxFiles].Err.Error(), "not read") {
		t.Error(len(files), err)
	}
}

func TestNewPayload(t *testing.T) {
	const upstreams = `{"critical":{"identity":{"docker-reference":"stagex/core-musl:1.2.5"},"image":{"docker-manifest-digest":"sha256:` // printf of sign.sh
	want := upstreams + digest + `"},"type":"atomic container signature"},"optional":{}}`
	if got := string(NewPayload("core-musl", "1.2.5", digest)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
