package embedded

import "testing"

// What starts a container in another way than runc run is refused, rather than run without
// its variations and called varied. What starts none is left alone.
func TestVaryRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{{"create", "--bundle", "b", "id"}, {"--root", "r", "exec", "id"}, {"run", "id"}, {"run", "--bundle"}} {
		if err := vary(args); err == nil {
			t.Errorf("runc %q is let through", args)
		}
	}
	for _, args := range [][]string{{"--version"}, {"--root", "r", "delete", "id"}, {"kill", "id", "9"}, {"state", "id"}} {
		if err := vary(args); err != nil {
			t.Errorf("runc %q: %v", args, err)
		}
	}
}
