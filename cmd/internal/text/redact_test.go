package text

import "testing"

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:hunter2@host/path":                       "https://xxxxx@host/path",
		"https://u:p%zz@host":                                  "https://xxxxx@host",
		"https://u:p@h,https://v:q@i":                          "https://xxxxx@h,https://xxxxx@i",
		"https://u:p,w@h":                                      "https://xxxxx@h",
		"https://a/x?k=1,https://u:p@b":                        "https://a/x?xxxxx,https://xxxxx@b",
		"https://token@host/x":                                 "https://xxxxx@host/x",
		"https://u:p/w@host/x":                                 "https://xxxxx@host/x",
		"https://u:p@q@host":                                   "https://xxxxx@host",
		"https://host/x?X-Amz-Signature=abc&y=1":               "https://host/x?xxxxx",
		"--mirrors=https://u:p@h/x":                            "--mirrors=https://xxxxx@h/x",
		"https://codeberg.org/stagex/stagex.git@2026.03.0":     "https://codeberg.org/stagex/stagex.git@2026.03.0",
		"https://host:8443/x@v1":                               "https://host:8443/x@v1",
		"tcp://[::1]:1234":                                     "tcp://[::1]:1234",
		"ssh://builder@host":                                   "ssh://builder@host",
		"ssh://builder:hunter2@host":                           "ssh://xxxxx@host",
		"oci://127.0.0.1:5000/stagex":                          "oci://127.0.0.1:5000/stagex",
		"stagex/core-rust:1.90.0@sha256:0":                     "stagex/core-rust:1.90.0@sha256:0",
		"the mirror https://a:b@c/d did not answer, nor e:f@g": "the mirror https://xxxxx@c/d did not answer, nor e:f@g",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}
