package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codeberg.org/stagex/sx/buildkit"
)

const (
	setResource    = "statefulsets.apps"
	budgetResource = "poddisruptionbudgets.policy"
)

// set has the fields of the StatefulSet that matter here. The whole object is kept, to
// be written back.
type set struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Replicas int `json:"replicas"`
	} `json:"spec"`
	Status struct {
		UpdateRevision string `json:"updateRevision"`
	} `json:"status"`

	whole object
}

func (s *set) UnmarshalJSON(data []byte) error {
	type plain set
	if err := json.Unmarshal(data, (*plain)(s)); err != nil {
		return err
	}
	return json.Unmarshal(data, &s.whole)
}

func (s *set) annotation(key string) string { return s.Metadata.Annotations[key] }

func (s *set) minimum() int {
	n, _ := strconv.Atoi(s.annotation(minimumKey))
	return max(n, 0)
}

// annotate sets an annotation, or removes it if value is "".
func (s *set) annotate(key, value string) {
	if s.Metadata.Annotations == nil {
		s.Metadata.Annotations = map[string]string{}
	}
	s.Metadata.Annotations[key] = value
	if value == "" {
		delete(s.Metadata.Annotations, key)
	}
}

// body returns the object to write back.
func (s *set) body() object {
	o := maps.Clone(s.whole)
	meta, _ := maps.Clone(o["metadata"].(object)), 0
	meta["annotations"] = s.Metadata.Annotations
	o["metadata"] = meta
	spec := maps.Clone(o["spec"].(object))
	spec["replicas"] = s.Spec.Replicas
	o["spec"] = spec
	return o
}

func (p *Pool) request(verb, resource string) request {
	return request{verb: verb, resource: resource, namespace: p.address.Namespace, name: p.address.Name}
}

// get returns the StatefulSet, nil if there is none. One that sx did not make is an error.
func (p *Pool) get(ctx context.Context) (*set, error) {
	var s set
	err := p.cluster.do(ctx, p.request("get", setResource), &s)
	switch {
	case refused(err, http.StatusNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case s.Metadata.Labels[managedBy] != managedBySx:
		return nil, &buildkit.EngineError{Engine: p.String(), Problem: "there is a StatefulSet of this name that sx did not make", Remedy: "choose another name, or delete it"}
	}
	return &s, nil
}

// maxTries bounds how often a change that others overtook is made again.
const maxTries = 20

// update changes the StatefulSet, which is made first if it is missing. Change is called
// again if another changed it meanwhile; it reports whether there is something to write.
func (p *Pool) update(ctx context.Context, change func(*set) (bool, error)) error {
	for try := 0; ; try++ {
		s, err := p.get(ctx)
		if err != nil {
			return err
		}
		verb := "update"
		if s == nil {
			verb, s = "create", p.newSet()
		}
		changed, err := change(s)
		if err != nil || !changed && verb == "update" {
			return err
		}
		r := p.request(verb, setResource)
		r.body = s.body()
		if verb == "create" {
			r.name = ""
		}
		err = p.cluster.do(ctx, r, nil)
		if !refused(err, http.StatusConflict) || try == maxTries {
			return err
		}
		if err := pause(ctx, time.Duration(rand.IntN(200))*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// newSet returns the StatefulSet that is not there yet.
func (p *Pool) newSet() *set {
	var s set
	data, err := json.Marshal(p.address.statefulSet(0))
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		panic("kubernetes: internal error: " + err.Error())
	}
	return &s
}

// prepare makes the StatefulSet what the address says, and its disruption budget. The
// pods of another specification are replaced only if no other run uses them.
func (p *Pool) prepare(ctx context.Context) error {
	want := p.newSet()
	err := p.update(ctx, func(s *set) (bool, error) {
		if s.annotation(specKey) == want.annotation(specKey) {
			return false, nil
		}
		if n := readRuns(s.annotation(runsKey), p.cluster.now()).others(p.id); n > 0 {
			return false, &buildkit.EngineError{Engine: p.String(), Problem: fmt.Sprintf("%d other runs of sx use its pods, and those are of other options or another version of sx", n),
				Remedy: "wait for them, give the same options, or choose another name"}
		}
		spec := maps.Clone(want.whole["spec"].(object))
		for _, fixed := range []string{"selector", "serviceName", "podManagementPolicy"} {
			spec[fixed] = s.whole["spec"].(object)[fixed]
		}
		// All pods go, so that none of before, which may not even start, is in the way.
		s.whole["spec"], s.Spec.Replicas = spec, 0
		s.annotate(specKey, want.annotation(specKey))
		return true, nil
	})
	if refused(err, http.StatusUnprocessableEntity) && strings.Contains(err.Error(), "updates to statefulset spec") {
		return &buildkit.EngineError{Engine: p.String(), Problem: "its pods have volumes of another size or class, which Kubernetes does not change",
			Remedy: "remove them with their caches: sx engine clean --engine " + p.String()}
	}
	if err != nil {
		return err
	}
	return p.prepareBudget(ctx)
}

func (p *Pool) prepareBudget(ctx context.Context) error {
	want := p.address.disruptionBudget()
	var has struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	err := p.cluster.do(ctx, p.request("get", budgetResource), &has)
	if refused(err, http.StatusNotFound) {
		r := p.request("create", budgetResource)
		r.name, r.body = "", want
		if err = p.cluster.do(ctx, r, nil); refused(err, http.StatusConflict) { // another sx was first
			return nil
		}
	}
	return err
}

// selector selects the objects of the pool.
func (p *Pool) selector() string {
	var pairs []string
	for key, value := range poolLabels(p.address.Name) {
		pairs = append(pairs, key+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

// pods returns the pods that the StatefulSet owns, by their ordinals.
func (p *Pool) pods(ctx context.Context, of *set) ([]pod, error) {
	var list struct {
		Items []pod `json:"items"`
	}
	r := p.request("list", "pods")
	r.name, r.query = "", map[string][]string{"labelSelector": {p.selector()}}
	if err := p.cluster.do(ctx, r, &list); err != nil {
		return nil, err
	}
	owned := slices.DeleteFunc(list.Items, func(d pod) bool {
		owner := metav1.GetControllerOf(&d.Metadata)
		return owner == nil || owner.UID != of.Metadata.UID
	})
	slices.SortFunc(owned, func(a, b pod) int { return a.ordinal() - b.ordinal() })
	return owned, nil
}

// ordinal returns the pod's number in its StatefulSet.
func (p *pod) ordinal() int {
	text := p.Metadata.Labels["apps.kubernetes.io/pod-index"]
	if text == "" { // before Kubernetes 1.28
		text = p.Metadata.Name[strings.LastIndexByte(p.Metadata.Name, '-')+1:]
	}
	n, _ := strconv.Atoi(text)
	return n
}
