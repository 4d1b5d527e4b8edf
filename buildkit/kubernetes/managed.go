package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"codeberg.org/stagex/sx/buildkit"
)

var _ buildkit.Managed = (*Pool)(nil)

// Up scales up to all the pods of the address, waits until they are ready and keeps them
// until [Pool.Stop].
func (p *Pool) Up(ctx context.Context) error {
	if err := p.up(ctx); err != nil {
		return p.place("").explain(err)
	}
	return nil
}

func (p *Pool) up(ctx context.Context) error {
	if err := p.prepare(ctx); err != nil {
		return err
	}
	want := p.address.Pods.Replicas
	err := p.update(ctx, func(s *set) (bool, error) {
		s.annotate(minimumKey, strconv.Itoa(want))
		s.Spec.Replicas = readRuns(s.annotation(runsKey), p.cluster.now()).wanted(want, want)
		return true, nil
	})
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, p.address.Pods.Wait)
	defer cancel()
	why := "the API server did not answer"
	for {
		v, err := p.look(waiting)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && waiting.Err() == nil:
			return err
		case err == nil && v.set == nil:
			return errors.New("the StatefulSet was deleted")
		case err == nil:
			ready := v.ready()
			if ready >= want {
				return nil
			}
			why = fmt.Sprintf("%d of %d are ready; %s", ready, want, p.why(v))
			p.tell(why)
		}
		if pause(waiting, lookEvery) != nil {
			return (&machine{pool: p}).gaveUp(why, nil)
		}
	}
}

// ready counts the pods that take builds.
func (v view) ready() (n int) {
	for i := range v.pods {
		if v.pods[i].takes(v.set) {
			n++
		}
	}
	return n
}

// Status implements [buildkit.Managed]. It asks no pod.
func (p *Pool) Status(ctx context.Context) (*buildkit.Status, error) {
	s := &buildkit.Status{Kind: Scheme, Place: p.String(), Unmeasured: "its pods are not asked"}
	v, err := p.look(ctx)
	if err != nil {
		return nil, p.place("").explain(err)
	}
	if v.set == nil {
		s.Place += " (not made yet)"
		return s, nil
	}
	ready := v.ready()
	s.Running, s.Clients = ready > 0, v.runs.others(p.id)
	if v.set.Spec.Replicas == 0 && len(v.pods) == 0 {
		s.Place += " (no pods)"
		return s, nil
	}
	s.Place += fmt.Sprintf(" (%d of %d pods ready)", ready, v.set.Spec.Replicas)
	for i := range v.pods {
		if d := &v.pods[i]; d.takes(v.set) && (s.Since.IsZero() || d.Metadata.CreationTimestamp.Time.Before(s.Since)) {
			s.Since = d.Metadata.CreationTimestamp.Time
		}
	}
	return s, nil
}

// stopTime is how long Stop waits for the pods to end: without builds they do so at once.
const stopTime = 2 * time.Minute

// Stop implements [buildkit.Managed]. It scales to zero, and volumes stay.
func (p *Pool) Stop(ctx context.Context, force bool) error {
	err := p.update(ctx, func(s *set) (bool, error) {
		all := readRuns(s.annotation(runsKey), p.cluster.now())
		if n := all.others(p.id); n > 0 && !force {
			return false, &buildkit.BusyError{Clients: n}
		}
		if s.whole["status"] == nil { // it is not there, and need not be made
			return false, errNotMade
		}
		s.annotate(runsKey, "")
		s.annotate(minimumKey, "")
		s.Spec.Replicas = 0
		return true, nil
	})
	if errors.Is(err, errNotMade) {
		return nil
	}
	if err != nil {
		return p.stopError(err)
	}
	return p.awaitGone(ctx)
}

var errNotMade = errors.New("it is not made yet")

func (p *Pool) stopError(err error) error {
	if errors.As(err, new(*buildkit.BusyError)) {
		return err
	}
	return p.place("").explain(err)
}

// awaitGone waits until all pods have ended.
func (p *Pool) awaitGone(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	why := "the API server did not answer"
	for {
		p.forget()
		v, err := p.look(waiting)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && waiting.Err() == nil:
			return p.place("").explain(err)
		case err == nil && (v.set == nil || len(v.pods) == 0):
			return nil
		case err == nil:
			why = p.why(v)
		}
		if pause(waiting, lookEvery) != nil {
			return &buildkit.EngineError{Engine: p.String(), Problem: fmt.Sprintf("its pods have not ended within %s: %s", stopTime, why),
				Remedy: "wait: a pod ends with its last build"}
		}
	}
}

// Clean implements [buildkit.Managed]. It deletes the StatefulSet, its disruption budget,
// and the volumes with the caches.
func (p *Pool) Clean(ctx context.Context, force bool) error {
	if err := p.Stop(ctx, force); err != nil {
		return err
	}
	if s, err := p.get(ctx); err != nil || s == nil {
		return p.stopErrorOrNil(err)
	}
	for _, resource := range []string{setResource, budgetResource} {
		if err := p.cluster.do(ctx, p.request("delete", resource), nil); err != nil && !refused(err, http.StatusNotFound) {
			return p.place("").explain(err)
		}
	}
	var claims struct {
		Items []struct {
			Metadata metav1.ObjectMeta `json:"metadata"`
		} `json:"items"`
	}
	r := p.request("list", "persistentvolumeclaims")
	r.name, r.query = "", map[string][]string{"labelSelector": {p.selector()}}
	if err := p.cluster.do(ctx, r, &claims); err != nil {
		return p.place("").explain(err)
	}
	for _, c := range claims.Items {
		r := p.request("delete", "persistentvolumeclaims")
		r.name = c.Metadata.Name
		if err := p.cluster.do(ctx, r, nil); err != nil && !refused(err, http.StatusNotFound) {
			return p.place("").explain(err)
		}
	}
	return nil
}

func (p *Pool) stopErrorOrNil(err error) error {
	if err == nil {
		return nil
	}
	return p.stopError(err)
}

// maxLog bounds what is read of one pod's log.
const maxLog = 4 << 20

// Logs implements [buildkit.Managed].
func (p *Pool) Logs(ctx context.Context, w io.Writer) error {
	v, err := p.look(ctx)
	if err != nil {
		return p.place("").explain(err)
	}
	for i := range v.pods {
		r := p.request("get", "pods/log")
		r.name, r.query = v.pods[i].Metadata.Name, map[string][]string{"container": {container}, "limitBytes": {strconv.Itoa(maxLog)}}
		data, err := p.cluster.ask(ctx, r)
		if err != nil {
			return p.place(r.name).explain(err)
		}
		if _, err := fmt.Fprintf(w, "pod %s:\n%s", r.name, data); err != nil {
			return err
		}
	}
	return nil
}
