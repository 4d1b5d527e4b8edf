package buildkit

import "testing"

func TestUsesNetwork(t *testing.T) {
	for _, tt := range []struct {
		file string
		want bool
	}{
		{"FROM scratch\nCOPY a /\n", false},
		{"FROM scratch\nRUN --network=none make\n", false},
		{"FROM scratch\nRUN --network=none [\"/a\"]\nRUN --mount=type=cache,target=/x --network=none b\n", false},
		{"FROM scratch\nRUN make\n", true},
		{"FROM scratch\nRUN --network=default make\n", true},
		{"FROM scratch\nRUN --network=host make\n", true},
		{"FROM scratch AS a\nRUN --network=none b\nFROM scratch\nRUN <<EOF\nb\nEOF\n", true},
		{"FROM scratch\nCOPY <<EOF /x\nRUN make\nEOF\n", false},
		{"FROM scratch\nONBUILD RUN make\n", false},
		{"nonsense", true},
		{"", true},
	} {
		if got := UsesNetwork([]byte(tt.file)); got != tt.want {
			t.Errorf("UsesNetwork(%q) = %v", tt.file, got)
		}
	}
}
