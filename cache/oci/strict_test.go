package oci

import "testing"

func TestTwoFacedConfig(t *testing.T) {
	for _, text := range []string{
		`{"architecture":"arm64","os":"linux","architecture":"amd64"}`,
		`{"architecture":"arm64","os":"linux","Architecture":"amd64"}`,
		`{"architecture":"amd64","os":"linux"} 1`,
		`{"architecture":"amd64","os":"linux","config":{"Labels":{"a":"1","a":"2"}}}`,
	} {
		if p, err := ReadConfigPlatform([]byte(text)); err == nil {
			t.Errorf("%s: got %s", text, p)
		}
	}
	// The names below a config's fields are free.
	text := `{"architecture":"amd64","os":"linux","config":{"Volumes":{"/a":{},"/A":{}},"Labels":{"OS":"x"}}}`
	if p, err := ReadConfigPlatform([]byte(text)); err != nil || p != "linux/amd64" {
		t.Errorf("got %s, %v", p, err)
	}
}
