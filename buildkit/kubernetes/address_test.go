package kubernetes

import (
	"strings"
	"testing"
)

// An address is read as it is meant, and printed without its options.
func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"kubernetes://builds/sx":                                    "kubernetes://builds/sx",
		"kubernetes://kind-a/builds/sx?replicas=4":                  "kubernetes://kind-a/builds/sx",
		"kubernetes://arn:aws:eks:eu:1:cluster/x/builds/sx":         "kubernetes://arn:aws:eks:eu:1:cluster/x/builds/sx",
		"kubernetes://admin@prod/builds/sx":                         "kubernetes://admin%40prod/builds/sx",
		"kubernetes://admin%40prod/builds/sx":                       "kubernetes://admin%40prod/builds/sx",
		"kubernetes://a/b/sx?tolerations=build:NoSchedule,x=y":      "kubernetes://a/b/sx",
		"kubernetes://b/sx?nodeselector=kubernetes.io/arch=arm64":   "kubernetes://b/sx",
		"kubernetes://b/sx?storage=1Gi&storage-class=fast&grace=2h": "kubernetes://b/sx",
	} {
		if a, err := ParseAddress(text); err != nil || a.String() != want {
			t.Errorf("%s: %v %v, want %s", text, a, err, want)
		}
	}
	a, err := ParseAddress("kubernetes://arn:x/y/builds/sx")
	if err != nil || a.Context != "arn:x/y" || a.Namespace != "builds" || a.Name != "sx" {
		t.Errorf("%+v, %v", a, err)
	}
}

// Each mistake in an address is named, with what would be right.
func TestAddressMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"kubernetes://sx":                                 "want kubernetes://[CONTEXT/]NAMESPACE/NAME",
		"kubernetes:///a/b":                               "want kubernetes://",
		"kubernetes://a/b/":                               "want kubernetes://",
		"kube://a/b":                                      "want kubernetes://",
		"kubernetes://Builds/sx":                          `the namespace "Builds"`,
		"kubernetes://b/" + strings.Repeat("x", 51):       "at most 50",
		"kubernetes://b/sx?replicas=0":                    "the option replicas=0: want 1 to 256",
		"kubernetes://b/sx?replica=1":                     `there is no option "replica"; there are annotations, config, grace, image`,
		"kubernetes://b/sx?replicas=1&replicas=2":         "given 2 times",
		"kubernetes://b/sx?limits.memory=lots":            "want an amount as Kubernetes has it",
		"kubernetes://b/sx?requests.cpu=0":                "want an amount",
		"kubernetes://b/sx?storage-class=fast":            "storage-class needs storage=SIZE",
		"kubernetes://b/sx?nodeselector=arm64":            "want KEY=VALUE",
		"kubernetes://b/sx?labels=" + managedBy + "=me":   "is sx's own",
		"kubernetes://b/sx?annotations=" + runsKey + "=x": "is sx's own",
		"kubernetes://b/sx?tolerations=build:Sometimes":   "NoSchedule, PreferNoSchedule, NoExecute",
		"kubernetes://b/sx?grace=1":                       "such as 90s or 2h",
		"kubernetes://b/sx?image=UPPER":                   "want an image",
		"kubernetes://b/sx?spread=not/a/key":              "the option spread=not/a/key",
		"kubernetes://b/sx?serviceaccount=Me":             "the option serviceaccount=Me",
		"kubernetes://b/sx?rootless=perhaps":              "want true or false",
		"kubernetes://b/sx?image=x%zz":                    "reading the options",
	} {
		if _, err := ParseAddress(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// An amount goes where it was asked for, and nowhere else.
func TestResources(t *testing.T) {
	a, err := ParseAddress("kubernetes://b/sx?requests.cpu=4&requests.memory=8Gi&requests.ephemeral-storage=50Gi&limits.memory=16Gi&limits.ephemeral-storage=90Gi")
	if err != nil {
		t.Fatal(err)
	}
	r := a.container()["resources"].(object)
	for _, c := range []struct{ kind, of, want string }{
		{"requests", "cpu", "4"}, {"requests", "memory", "8Gi"}, {"requests", "ephemeral-storage", "50Gi"},
		{"limits", "cpu", ""}, {"limits", "memory", "16Gi"}, {"limits", "ephemeral-storage", "90Gi"},
	} {
		if got := r[c.kind].(map[string]string)[c.of]; got != c.want {
			t.Errorf("%s.%s is %q, want %q", c.kind, c.of, got, c.want)
		}
	}
}

// What sx makes of an address is known by a hash: that of other pods differs, and that of
// more of them does not.
func TestSpecHash(t *testing.T) {
	hash := func(text string) any {
		a, err := ParseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		return a.statefulSet(0)["metadata"].(object)["annotations"].(object)[specKey]
	}
	was := hash("kubernetes://b/sx")
	for _, same := range []string{"kubernetes://b/sx?replicas=4", "kubernetes://other/b/sx", "kubernetes://b/sx?wait=5m"} {
		if hash(same) != was {
			t.Errorf("%s has other pods", same)
		}
	}
	for _, other := range []string{"image=x", "rootless=true", "storage=1Gi", "requests.cpu=1", "limits.cpu=1", "grace=1h", "labels=a=b", "tolerations=a", "spread=none", "pull-secret=x", "config=x"} {
		if hash("kubernetes://b/sx?"+other) == was {
			t.Errorf("%s changes nothing", other)
		}
	}
}
