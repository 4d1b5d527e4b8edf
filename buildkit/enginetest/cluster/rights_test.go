//go:build linux

package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"codeberg.org/stagex/sx/buildkit/enginetest/cluster"
)

// rule is a rule of a Role.
type rule struct {
	APIGroups []string `json:"apiGroups"`
	Resources []string `json:"resources"`
	Verbs     []string `json:"verbs"`
}

// documented returns the rules that docs/kubernetes.md says sx needs.
func documented(t *testing.T) []rule {
	t.Helper()
	page, err := os.ReadFile("../../../docs/kubernetes.md")
	must(t, err)
	_, role, _ := strings.Cut(string(page), "```yaml\n")
	role, _, _ = strings.Cut(role, "```")
	var r struct{ Rules []rule }
	must(t, yaml.UnmarshalStrict([]byte(role), &struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   map[string]string `json:"metadata"`
		Rules      *[]rule           `json:"rules"`
	}{Rules: &r.Rules}))
	return r.Rules
}

// without returns the rules without rights such as "list pods" or "get statefulsets.apps".
func without(t *testing.T, rules []rule, rights ...string) (less []rule) {
	t.Helper()
	taken := map[string]bool{}
	for _, r := range rules {
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				name := strings.TrimSuffix(resource+"."+group, ".")
				verbs := slices.DeleteFunc(slices.Clone(r.Verbs), func(verb string) bool {
					right := verb + " " + name
					taken[right] = true
					return slices.Contains(rights, right)
				})
				if len(verbs) > 0 {
					less = append(less, rule{[]string{group}, []string{resource}, verbs})
				}
			}
		}
	}
	for _, r := range rights {
		if !taken[r] {
			t.Errorf("the documented Role does not give the right to %s", r)
		}
	}
	return less
}

// logIn makes sx use an account of the pool's namespace that has only these rights.
func (p *pool) logIn(rules []rule) {
	p.t.Helper()
	list, err := yaml.Marshal(rules)
	must(p.t, err)
	p.kubectl("create", "serviceaccount", "builder")
	must(p.t, p.c.Apply(p.t.Context(), fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: builder, namespace: %s}
rules:
%s`, p.namespace, list)))
	p.kubectl("create", "rolebinding", "builder", "--role=builder", "--serviceaccount="+p.namespace+":builder")
	file := filepath.Join(p.t.TempDir(), "kubeconfig")
	must(p.t, os.WriteFile(file, []byte(p.c.Login(p.kubectl("create", "token", "builder"))), 0o600))
	p.Env = append(p.Env, "KUBECONFIG="+file)
}

// lacks asserts that a command of sx ends because the account lacks a right.
func (p *pool) lacks(right string, args ...string) {
	p.t.Helper()
	verb, resource, _ := strings.Cut(right, " ")
	log := p.Start(args...).Want(6).Stderr.String()
	want := fmt.Sprintf("the account system:serviceaccount:%[1]s:builder may not %[2]s %[3]s in the namespace %[1]s; have a Role give it the verb %[2]s on %[3]s; docs/kubernetes.md lists the rights that sx needs",
		p.namespace, verb, resource)
	if strings.Count(log, want) != 1 {
		p.t.Errorf("sx %s wrote\n%s\nand not once: %s", strings.Join(args, " "), log, want)
	}
}

// Without one of the rights that a build needs it ends with one error, which names it, and leaves no pod.
func wantsRights(t *testing.T, c *cluster.Cluster) {
	for _, right := range []string{
		"get statefulsets.apps", "create statefulsets.apps", "update statefulsets.apps", "list pods", "get pods/exec",
		"get poddisruptionbudgets.policy", "create poddisruptionbudgets.policy",
	} {
		t.Run(right, func(t *testing.T) {
			p := newPool(t, c, "")
			p.logIn(without(t, documented(t), right))
			p.lacks(right, "build", "core-other")
			if left := p.kubectl("get", "statefulset", "-o=jsonpath={.items[*].spec.replicas}"); strings.Trim(left, "0") != "" {
				t.Errorf("a StatefulSet wants %s pods", left)
			}
		})
	}
	t.Run("only these", func(t *testing.T) {
		p := newPool(t, c, "")
		p.logIn(without(t, documented(t), "list events", "get pods", "get pods/log", "create pods/exec", // Kubernetes 1.35 wants the last
			"delete statefulsets.apps", "delete poddisruptionbudgets.policy", "list persistentvolumeclaims", "delete persistentvolumeclaims"))
		p.Sx("build", "core-other")
		p.Sx("engine", "up", p.address(""))
		p.lacks("get pods/log", "engine", "logs")
		p.Sx("engine", "down", p.address(""))
		p.lacks("delete statefulsets.apps", "engine", "clean")
	})
}
