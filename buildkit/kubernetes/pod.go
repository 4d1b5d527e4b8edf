package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"codeberg.org/stagex/sx/buildkit"
)

// PodScheme is the scheme of the address of a [Pod].
const PodScheme = "kube-pod"

// Pod is a buildkitd in a pod that sx did not make.
type Pod struct {
	address   string
	cluster   *cluster
	namespace string // "": the context's
	name      string
	container string // "": the default one
}

var _ buildkit.Engine = (*Pod)(nil)

// NewPod parses kube-pod://POD[?namespace=N&container=C&context=X].
func NewPod(address string) (*Pod, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	const form = "want kube-pod://POD[?namespace=N&container=C&context=X]"
	if u.Scheme != PodScheme || u.User != nil || strings.Trim(u.Path, "/") != "" || len(validation.IsDNS1123Subdomain(u.Host)) > 0 {
		return nil, errors.New(form)
	}
	q := u.Query()
	for name := range q {
		if name != "namespace" && name != "container" && name != "context" {
			return nil, fmt.Errorf("there is no option %q; %s", name, form)
		}
	}
	for _, name := range []string{"namespace", "container"} {
		if value := q.Get(name); value != "" && len(validation.IsDNS1123Label(value)) > 0 {
			return nil, fmt.Errorf("the %s %q is not a name; %s", name, value, form)
		}
	}
	return &Pod{address: address, cluster: newCluster(q.Get("context")), namespace: q.Get("namespace"), name: u.Host, container: q.Get("container")}, nil
}

func (p *Pod) String() string { return p.address }

// Kind implements [buildkit.Engine].
func (p *Pod) Kind() string { return PodScheme }

// Connect implements [buildkit.Engine].
func (p *Pod) Connect(ctx context.Context) (*buildkit.Conn, error) {
	at := place{engine: p.address, cluster: p.cluster, namespace: p.namespace}
	if at.namespace == "" {
		l, err := p.cluster.load()
		if err != nil {
			return nil, at.explain(err)
		}
		at.namespace = l.namespace
	}
	var found pod
	if err := p.cluster.do(ctx, request{verb: "get", resource: "pods", namespace: at.namespace, name: p.name}, &found); err != nil {
		return nil, at.explain(err)
	}
	if why := found.unready(); why != "" && found.Status.Phase != "Running" {
		return nil, &buildkit.EngineError{Engine: p.address, Problem: "the pod is not ready: " + why, Remedy: "see kubectl --namespace=" + at.namespace + " describe pod " + p.name}
	}
	in, err := found.containerNamed(p.container)
	if err != nil {
		return nil, &buildkit.EngineError{Engine: p.address, Problem: err.Error(), Remedy: "name another in container="}
	}
	at.pod = p.name
	c, err := buildkit.Connect(ctx, func(ctx context.Context) (net.Conn, error) {
		return p.cluster.dialStdio(ctx, at.namespace, p.name, in)
	})
	if err != nil {
		return nil, at.explain(err)
	}
	return c, nil
}

// pod has the fields of a pod that matter here.
type pod struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		NodeName   string `json:"nodeName"`
		Containers []struct {
			Name string `json:"name"`
		} `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase             string            `json:"phase"`
		Reason            string            `json:"reason"`
		Message           string            `json:"message"`
		Conditions        []condition       `json:"conditions"`
		ContainerStatuses []containerStatus `json:"containerStatuses"`
	} `json:"status"`

	warning string // the last event about it, while it is being created
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

type containerStatus struct {
	RestartCount int `json:"restartCount"`
	State        struct {
		Waiting *struct {
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"waiting"`
	} `json:"state"`
	LastState struct {
		Terminated *struct {
			Reason   string `json:"reason"`
			ExitCode int    `json:"exitCode"`
		} `json:"terminated"`
	} `json:"lastState"`
}

// containerNamed returns the container of that name, or the one that kubectl would take.
func (p *pod) containerNamed(name string) (string, error) {
	var names []string
	for _, c := range p.Spec.Containers {
		names = append(names, c.Name)
	}
	if name == "" {
		name = p.Metadata.Annotations["kubectl.kubernetes.io/default-container"]
	}
	for _, n := range names {
		if n == name || name == "" {
			return n, nil
		}
	}
	return "", fmt.Errorf("the pod has no container %q; it has %s", name, strings.Join(names, ", "))
}

func (p *pod) condition(kind string) condition {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return condition{}
}

// creating reports whether a node has taken the pod and has not yet started a container.
func (p *pod) creating() bool {
	if p.Metadata.DeletionTimestamp != nil || p.Status.Phase != "Pending" {
		return false
	}
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason == "ContainerCreating" {
			return true
		}
	}
	return false
}

// unready returns why the pod takes no builds; "" if it does.
func (p *pod) unready() string {
	switch {
	case p.Metadata.DeletionTimestamp != nil:
		return "it is going away"
	case p.Status.Phase == "Failed" || p.Status.Phase == "Succeeded":
		return strings.TrimSpace("it has ended: " + p.Status.Reason + " " + p.Status.Message)
	case p.condition("Ready").Status == "True":
		return ""
	}
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			why := w.Reason
			if w.Message != "" {
				why += ": " + w.Message
			}
			if t := c.LastState.Terminated; t != nil {
				why += fmt.Sprintf(" (it ended before: %s, exit status %d)", t.Reason, t.ExitCode)
			}
			return why
		}
	}
	if c := p.condition("PodScheduled"); c.Status == "False" {
		return "no node takes it: " + c.Message
	}
	if p.warning != "" {
		return p.warning
	}
	if c := p.condition("Ready"); c.Message != "" {
		return c.Message
	}
	if p.Status.Phase == "Running" {
		return "it is not ready; its node may not report any more"
	}
	return "it is starting"
}
