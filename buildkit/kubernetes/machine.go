package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"codeberg.org/stagex/sx/buildkit"
)

// machine is one pod at a time of a pool. After a pod is lost, Connect takes another, or
// its successor.
type machine struct {
	pool *Pool
	on   int // ordinal of the pod; its cache is there
	had  bool
}

// Kind implements [buildkit.Engine].
func (m *machine) Kind() string { return Scheme }

func (m *machine) String() string { return m.pool.String() }

// Connect implements [buildkit.Engine]: it waits until a pod is ready that no other
// machine of the pool uses. The connection is to that pod, and never to another.
func (m *machine) Connect(ctx context.Context) (*buildkit.Conn, error) {
	p := m.pool
	if err := p.join(ctx); err != nil {
		return nil, p.place("").explain(err)
	}
	waiting, cancel := context.WithTimeout(ctx, p.address.Pods.Wait)
	defer cancel()
	var last error
	var why string
	for {
		d, now, err := m.choose(waiting)
		why = cmp.Or(now, why)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && waiting.Err() == nil:
			return nil, p.place("").explain(err)
		case d != nil:
			c, err := m.connect(ctx, d)
			if err == nil || ctx.Err() != nil {
				return c, err
			}
			if last = err; refused(err, 401, 403) {
				return nil, p.place("").explain(err)
			} else if errors.As(err, new(*noBuildctl)) {
				return nil, err
			}
			continue
		}
		if waiting.Err() != nil {
			return nil, m.gaveUp(why, last)
		}
		p.tell(why)
		if pause(waiting, lookEvery) != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// gaveUp is the error after the time to wait for a pod.
func (m *machine) gaveUp(why string, last error) error {
	if why == "" && last != nil {
		var known *buildkit.EngineError
		if errors.As(last, &known) {
			return known
		}
		return m.pool.place("").explain(last)
	}
	return &buildkit.EngineError{Engine: m.pool.String(), Problem: fmt.Sprintf("no pod was ready within %s: %s", m.pool.address.Pods.Wait, why),
		Remedy: "see kubectl --namespace=" + m.pool.address.Namespace + " describe pods; wait=DURATION in the address waits longer"}
}

// choose reserves a ready pod: the one with the fewest other runs, then the one that the
// machine had before. Without one, it returns why.
func (m *machine) choose(ctx context.Context) (*pod, string, error) {
	p := m.pool
	v, err := p.look(ctx)
	if err != nil {
		return nil, "", err
	}
	if v.set == nil {
		return nil, "its StatefulSet was deleted", p.join(ctx)
	}
	best, why, more := m.reserve(v)
	if more {
		return nil, why, p.register(ctx)
	}
	return best, why, nil
}

// reserve is choose on a view. More reports that a pod that this run used does not come
// back by itself, so that another one is wanted in its place: one on a lost node stays
// Terminating until an administrator removes it.
func (m *machine) reserve(v view) (best *pod, why string, more bool) {
	p := m.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range v.pods {
		d := &v.pods[i]
		if p.used[d.Metadata.UID] == nil && time.Now().After(p.avoid[d.Metadata.UID].until) && d.takes(v.set) && (best == nil || m.prefers(v.runs, d, best)) {
			best = d
		}
	}
	if best == nil {
		gone := 0
		for i := range v.pods {
			if d := &v.pods[i]; p.avoid[d.Metadata.UID].why != "" && d.unready() != "" {
				gone++
			}
		}
		more = gone > p.gone && p.width+gone <= p.address.Pods.Replicas
		p.gone = max(p.gone, gone)
		return nil, p.whyNone(v), more
	}
	p.used[best.Metadata.UID] = m
	m.on, m.had = best.ordinal(), true
	return best, "", false
}

// takes reports whether the pod is ready for builds. One of a former specification is
// about to be replaced.
func (d *pod) takes(s *set) bool {
	revision := d.Metadata.Labels["controller-revision-hash"]
	return d.unready() == "" && (revision == "" || s.Status.UpdateRevision == "" || revision == s.Status.UpdateRevision)
}

// prefers reports whether a is better than b.
func (m *machine) prefers(all runs, a, b *pod) bool {
	former := func(d *pod) int {
		if m.had && d.ordinal() == m.on {
			return 0
		}
		return 1
	}
	return cmp.Or(
		all.load(m.pool.id, a.ordinal())-all.load(m.pool.id, b.ordinal()),
		former(a)-former(b),
		a.ordinal()-b.ordinal(), // the others can be scaled down
	) < 0
}

// avoidTime is how long a pod that could not be reached is left alone, if there are
// others: one on a lost node is ready for a while yet.
const avoidTime = 30 * time.Second

// avoided is a pod that could not be reached.
type avoided struct {
	until time.Time
	why   string
}

// connect connects to a pod that choose reserved.
func (m *machine) connect(ctx context.Context, d *pod) (*buildkit.Conn, error) {
	p, uid, name := m.pool, d.Metadata.UID, d.Metadata.Name
	fail := func(err error) (*buildkit.Conn, error) {
		m.free(uid)
		p.mu.Lock()
		p.avoid[uid] = avoided{time.Now().Add(avoidTime), err.Error()}
		p.mu.Unlock()
		p.forget()
		var exit *exitError
		if errors.As(err, &exit) && exit.lacksBuildctl() {
			return nil, &noBuildctl{p.place(name).explain(err)}
		} else if refused(err, 401, 403) {
			return nil, err
		}
		return nil, p.place(name).explain(err)
	}
	if err := p.register(ctx); err != nil { // so that no other run scales it down
		return fail(err)
	}
	var once sync.Once
	c, err := buildkit.Connect(ctx, func(ctx context.Context) (conn net.Conn, err error) {
		err = errOver
		once.Do(func() { conn, err = p.cluster.dialStdio(ctx, p.address.Namespace, name, container) })
		if err != nil {
			return nil, err
		}
		return &podConn{Conn: conn, free: func() {
			m.free(uid)
			p.log("the connection to the pod was closed", d)
		}}, nil
	})
	if err != nil {
		return fail(err)
	}
	p.tell("")
	p.log("connected to a pod", d)
	return c, nil
}

// errOver ends a connection that broke: a new one could be to a pod that has taken the
// name, and knows nothing of the build.
var errOver = errors.New("the connection to the pod has ended")

// podConn frees its pod when it is closed.
type podConn struct {
	net.Conn
	free func()
	once sync.Once
}

func (c *podConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.free)
	return err
}

func (m *machine) free(uid types.UID) {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	if m.pool.used[uid] == m {
		delete(m.pool.used, uid)
	}
}

// tell tells the user what is waited for, once.
func (p *Pool) tell(what string) {
	p.mu.Lock()
	news := what != p.told
	p.told = what
	p.mu.Unlock()
	if news && what != "" && p.Waiting != nil {
		p.Waiting("a pod of " + p.String() + ": " + what)
	}
}

func (p *Pool) why(v view) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.whyNone(v)
}

// whyNone returns in words why no pod takes this machine. p.mu is held.
func (p *Pool) whyNone(v view) string {
	var why []string
	for i := range v.pods {
		d := &v.pods[i]
		switch reason := d.unready(); {
		case p.used[d.Metadata.UID] != nil:
		case reason != "":
			why = append(why, d.describe(reason, p))
		case !d.takes(v.set):
			why = append(why, d.describe("it is of a former version and is being replaced", p))
		case p.avoid[d.Metadata.UID].why != "":
			why = append(why, d.describe("it could not be reached a moment ago ("+p.avoid[d.Metadata.UID].why+")", p))
		}
	}
	if len(v.pods) < v.set.Spec.Replicas {
		missing := fmt.Sprintf("the cluster has made %d of %d pods", len(v.pods), v.set.Spec.Replicas)
		if v.warning != "" {
			missing += ": " + v.warning
		}
		why = append(why, missing)
	}
	if len(why) == 0 {
		return "all pods are in use"
	}
	return joinFew(why)
}

// mostReasons is how many are told at once.
const mostReasons = 3

// joinFew joins different reasons, of which there may be many.
func joinFew(why []string) string {
	why = slices.Compact(why)
	more := ""
	if len(why) > mostReasons {
		more = fmt.Sprintf("; and %d more", len(why)-mostReasons)
		why = why[:mostReasons]
	}
	text := why[0]
	for _, w := range why[1:] {
		text += "; " + w
	}
	return text + more
}

// longGone is how long a pod may be going away before sx says what a lost node looks
// like.
const longGone = time.Minute

// noStart are the reasons of events that say why a pod does not start on its node.
var noStart = []string{"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"}

// explainStarts asks why pods do not start of which their status says nothing: a volume
// that is not attached, a ConfigMap that is missing.
func (p *Pool) explainStarts(ctx context.Context, pods []pod) {
	asked := 0
	for i := range pods {
		if d := &pods[i]; d.creating() && asked < mostReasons {
			d.warning = p.lastWarning(ctx, d.Metadata.UID, noStart...)
			asked++
		}
	}
}

// describe returns a pod and why it is not used. A pod of a lost node goes away for ever;
// sx deletes none by force, because its node may only be out of reach.
func (d *pod) describe(reason string, p *Pool) string {
	text := d.Metadata.Name
	if d.Spec.NodeName != "" {
		text += " on " + d.Spec.NodeName
	}
	text += ": " + reason
	if at := d.Metadata.DeletionTimestamp; at != nil {
		since := at.Time
		if grace := d.Metadata.DeletionGracePeriodSeconds; grace != nil {
			since = since.Add(-time.Duration(*grace) * time.Second)
		}
		if p.cluster.now().Sub(since) > longGone {
			text += fmt.Sprintf(" since %s; if that node is lost, free its place: kubectl --namespace=%s delete pod %s --force --grace-period=0",
				since.UTC().Format("15:04:05 MST"), p.address.Namespace, d.Metadata.Name)
		}
	}
	return text
}

// lastWarning returns the last warning about an object, such as an exceeded quota, of
// reasons, or any if there are none; "" if the account may not read events.
func (p *Pool) lastWarning(ctx context.Context, of types.UID, reasons ...string) string {
	var list struct {
		Items []struct {
			Message       string    `json:"message"`
			Reason        string    `json:"reason"`
			Type          string    `json:"type"`
			LastTimestamp time.Time `json:"lastTimestamp"`
		} `json:"items"`
	}
	r := p.request("list", "events")
	r.name, r.query = "", map[string][]string{"fieldSelector": {"involvedObject.uid=" + string(of) + ",type=Warning"}, "limit": {"100"}}
	if p.cluster.do(ctx, r, &list) != nil {
		return ""
	}
	said, at := "", time.Time{}
	for _, e := range list.Items {
		if e.Type == "Warning" && !e.LastTimestamp.Before(at) && (len(reasons) == 0 || slices.Contains(reasons, e.Reason)) {
			said, at = e.Message, e.LastTimestamp
		}
	}
	return said
}
