package worker

import "testing"

// TestStateName checks that a user namespace with other ids has a state of its own.
func TestStateName(t *testing.T) {
	if stateName("native", "a") == stateName("native", "b") {
		t.Error("other ids, the same state")
	}
	if stateName("native", "") != "native" {
		t.Error("root's state moved")
	}
}

func TestGCPolicy(t *testing.T) {
	const size = 8 << 30
	p := gcPolicy(size)
	last := p[len(p)-1]
	if !last.All || last.MaxUsedSpace != size || last.KeepDuration != 0 {
		t.Errorf("the last rule does not bound the cache: %+v", last)
	}
	for _, rule := range p[:len(p)-1] {
		if rule.MaxUsedSpace >= size || rule.KeepDuration == 0 {
			t.Errorf("a rule before the bound keeps nothing back: %+v", rule)
		}
	}
}
