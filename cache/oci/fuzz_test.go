package oci

import "testing"

// A value that is read from any document passed its checks.
func FuzzDocuments(f *testing.F) {
	d := Descriptor{MediaTypeManifest, DigestOf([]byte("layer")), 5}
	index, _, err := ImageIndex(Manifest{Digest: d.Digest, Size: d.Size, Platform: "linux/amd64"})
	if err != nil {
		f.Fatal(err)
	}
	top, err := IndexJSON(d, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index)
	f.Add(top)
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"` + MediaTypeManifest + `","config":{"mediaType":"` + MediaTypeConfig +
		`","digest":"` + d.Digest.String() + `","size":5},"layers":[]}`))
	f.Add([]byte(`{"architecture":"amd64","os":"linux"}`))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + zeros + `"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, mediaType := range []string{MediaTypeIndex, MediaTypeManifest} {
			idx, err := ReadIndex(data, mediaType)
			if err == nil && checkDescriptors(idx.Manifests) != nil {
				t.Error("a bad descriptor came without an error")
			}
			if m, err := ReadManifest(data, mediaType); err == nil && m.Config.Check() != nil {
				t.Error("a bad config came without an error")
			}
		}
		if p, err := ReadConfigPlatform(data); err != nil && p != "" {
			t.Error("a value came with an error")
		}
	})
}
