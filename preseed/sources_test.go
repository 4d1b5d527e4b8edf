package preseed

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"codeberg.org/stagex/sx/cache/oci"
	"codeberg.org/stagex/sx/fetch/transfer"
)

func getSource(t *testing.T, url string) (*http.Response, error) {
	t.Helper()
	c, err := NewClient(ClientOptions{Keychain: anonymous{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.SourceTransport().RoundTrip(req)
}

func TestSourceTransport(t *testing.T) {
	s := newServer(t)
	data := noise(1, 5000)
	name := s.host() + "/sources"
	contents, tag, err := Sources("core/a", "", testFiles(map[string][]byte{"a.tar": data}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newPusher(t).Push(t.Context(), name, contents, []string{tag}); err != nil {
		t.Fatal(err)
	}
	resp, err := getSource(t, SourcePrefix(name)+oci.DigestOf(data).Hex())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != string(data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	missing, err := getSource(t, SourcePrefix(name)+oci.DigestOf(nil).Hex())
	if err != nil || missing.StatusCode != http.StatusNotFound {
		t.Errorf("what is not there: %v, %v", missing, err)
	}

	s.misbehave(on("/blobs/", status(http.StatusForbidden)))
	_, err = getSource(t, SourcePrefix(name)+oci.DigestOf(data).Hex())
	wantError(t, err, "docker login "+s.host())
	wantFinal(t, err)
	_, err = getSource(t, "oci://203.0.113.1/sources@sha256:"+strings.Repeat("z", 64))
	wantFinal(t, err)
}

func wantFinal(t *testing.T, err error) {
	t.Helper()
	if transfer.OutcomeOf(err) != transfer.Final {
		t.Errorf("%v would be tried again", err)
	}
}

func TestParseSources(t *testing.T) {
	got, err := ParseSources("oci://registry.example:5000/stagex/sources")
	if err != nil || got != "registry.example:5000/stagex/sources" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"", "https://registry.example/a", "oci://registry.example", "oci://a/b", "oci://registry.example/A", "oci://user:secret@registry.example/a", "oci://registry.example/a@sha256:00"} {
		if got, err := ParseSources(bad); err == nil {
			t.Errorf("%q is taken for %q", bad, got)
		}
	}
}

// Equal files make an equal artifact; its manifest names each, and its tag both
// whose they are and which.
func TestSourcesArtifact(t *testing.T) {
	one := testFiles(map[string][]byte{"a.tar": []byte("a")})
	contents, tag, err := Sources("core/rust", "1.80.0", append(one, File{"copy.tar", one[0].Content}))
	if err != nil {
		t.Fatal(err)
	}
	if len(contents) != 3 { // the empty config, the file, the manifest
		t.Errorf("%d contents", len(contents))
	}
	m, err := manifestOf(contents[2])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"artifactType":"` + SourcesType, `"a.tar"`, `"copy.tar"`, `"core/rust"`, `"1.80.0"`} {
		if !strings.Contains(string(m.data), want) {
			t.Errorf("the manifest has no %s: %s", want, m.data)
		}
	}
	_, again, _ := Sources("core/rust", "1.80.0", append(one, File{"copy.tar", one[0].Content}))
	_, other, _ := Sources("core/rust", "1.80.0", one)
	if tag != again || tag == other || !strings.HasPrefix(tag, "core-rust-1.80.0.") {
		t.Errorf("tags %s, %s, of other files %s", tag, again, other)
	}
	if _, long, _ := Sources("core/"+strings.Repeat("x", 150), strings.Repeat("1", 120), one); len(long) > 128 {
		t.Errorf("a tag of %d characters", len(long))
	}
}
