package kubernetes

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"

	"codeberg.org/stagex/sx/buildkit"
)

// Pool is a StatefulSet of buildkitd that sx makes, scales and reuses. Its connections
// are to different pods. It is safe for concurrent use.
type Pool struct {
	// Waiting is told what a connection waits for, when that changes; nil: it is not.
	Waiting func(what string)
	// Log is told which pod a connection is to; nil: it is not.
	Log *zap.Logger

	address Address
	cluster *cluster
	id      string // of this run

	mu       sync.Mutex
	width    int // how many pods the run can use
	gone     int // pods that it used and that do not come back by themselves: as many more are wanted
	prepared bool
	renewing context.CancelFunc // nil: the run is not registered
	used     map[types.UID]*machine
	avoid    map[types.UID]avoided // pods that could not be reached
	told     string                // last to Waiting

	looking  sync.Mutex // one asks at a time
	lookedAt time.Time
	seen     view
}

var _ buildkit.Pool = (*Pool)(nil)

// NewPool returns the pool at an address. Nothing is asked of the cluster yet.
func NewPool(a Address) *Pool {
	return &Pool{address: a, cluster: newCluster(a.Context), id: rand.Text()[:12], width: 1, used: map[types.UID]*machine{}, avoid: map[types.UID]avoided{}}
}

// Kind implements [buildkit.Engine].
func (p *Pool) Kind() string { return Scheme }

// String returns the address without its options, with the context that counts.
func (p *Pool) String() string {
	a := p.address
	if a.Context == "" {
		a.Context = p.cluster.name()
	}
	return a.String()
}

// Machines implements [buildkit.Pool].
func (p *Pool) Machines(width int) []buildkit.Engine {
	width = max(1, min(width, p.address.Pods.Replicas))
	p.mu.Lock()
	p.width = max(p.width, width)
	p.mu.Unlock()
	machines := make([]buildkit.Engine, width)
	for i := range machines {
		machines[i] = &machine{pool: p}
	}
	return machines
}

// Connect implements [buildkit.Engine]: it connects to one of the pods.
func (p *Pool) Connect(ctx context.Context) (*buildkit.Conn, error) {
	return (&machine{pool: p}).Connect(ctx)
}

func (p *Pool) log(message string, d *pod, more ...zap.Field) {
	if p.Log != nil {
		p.Log.Info(message, append(more, zap.String("pod", d.Metadata.Name), zap.String("node", d.Spec.NodeName))...)
	}
}

// place is where errors of the pool happen.
func (p *Pool) place(pod string) place {
	return place{engine: p.String(), cluster: p.cluster, namespace: p.address.Namespace, pod: pod}
}

// view is what the cluster has of the pool.
type view struct {
	set     *set
	pods    []pod
	runs    runs
	warning string // why pods are missing; "" if unknown
}

// lookEvery is how often the cluster is asked while something is awaited.
const lookEvery = time.Second

// look returns what the cluster has, not older than lookEvery.
func (p *Pool) look(ctx context.Context) (view, error) {
	p.looking.Lock()
	defer p.looking.Unlock()
	if time.Since(p.lookedAt) < lookEvery && p.seen.set != nil {
		return p.seen, nil
	}
	s, err := p.get(ctx)
	if err != nil || s == nil {
		p.seen = view{}
		return view{}, err
	}
	pods, err := p.pods(ctx, s)
	if err != nil {
		return view{}, err
	}
	warning := ""
	if len(pods) < s.Spec.Replicas {
		warning = p.lastWarning(ctx, s.Metadata.UID)
	}
	p.explainStarts(ctx, pods)
	p.seen, p.lookedAt = view{s, pods, readRuns(s.annotation(runsKey), p.cluster.now()), warning}, time.Now()
	return p.seen, nil
}

// forget makes the next look ask.
func (p *Pool) forget() {
	p.looking.Lock()
	defer p.looking.Unlock()
	p.seen = view{}
}

// join makes the StatefulSet what it should be, registers the run and scales up to what
// it can use.
func (p *Pool) join(ctx context.Context) error {
	p.mu.Lock()
	prepared := p.prepared
	p.mu.Unlock()
	if !prepared {
		if err := p.prepare(ctx); err != nil {
			return err
		}
	}
	if err := p.register(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prepared = true
	if p.renewing == nil {
		renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
		p.renewing = stop
		go p.renew(renewing) // ended by Release
	}
	return nil
}

// register writes what this run can use and is connected to, and scales up to that.
func (p *Pool) register(ctx context.Context) error {
	return p.update(ctx, func(s *set) (bool, error) {
		all := readRuns(s.annotation(runsKey), p.cluster.now())
		if _, known := all[p.id]; !known && len(all) >= maxRuns {
			return false, &buildkit.EngineError{Engine: p.String(), Problem: fmt.Sprintf("%d runs of sx use it", len(all)), Remedy: "wait for them, or choose another name"}
		}
		all[p.id] = p.entry()
		s.annotate(runsKey, all.String())
		s.Spec.Replicas = max(s.Spec.Replicas, all.wanted(s.minimum(), p.address.Pods.Replicas))
		return true, nil
	})
}

func (p *Pool) entry() runEntry {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := runEntry{Until: p.cluster.now().Add(runTime).UTC().Truncate(time.Second), Pods: p.width + p.gone, On: []int{}}
	for _, m := range p.used {
		e.On = append(e.On, m.on)
	}
	slices.Sort(e.On)
	return e
}

// renew keeps the run registered. An API server that is away is asked again later.
func (p *Pool) renew(ctx context.Context) {
	for pause(ctx, renewEvery) == nil {
		p.register(ctx)
	}
}

// releaseTime bounds Release.
const releaseTime = 15 * time.Second

// Release ends this run's use of the pool and scales down to what other runs use, and
// what [Pool.Up] asked for. It does nothing if nothing was used. Afterwards the pool can
// be used again.
func (p *Pool) Release(ctx context.Context) error {
	p.mu.Lock()
	stop := p.renewing
	p.renewing, p.prepared = nil, false
	p.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	if err := p.scaleDown(ctx, p.id); err != nil {
		return fmt.Errorf("scaling down %s: %w; sx engine down does it later", p, p.place("").explain(err))
	}
	return nil
}

// scaleDown forgets a run and scales down to what the others use.
func (p *Pool) scaleDown(ctx context.Context, run string) error {
	s, err := p.get(ctx)
	if err != nil || s == nil {
		return err
	}
	return p.update(ctx, func(s *set) (bool, error) {
		all := readRuns(s.annotation(runsKey), p.cluster.now())
		delete(all, run)
		s.annotate(runsKey, "")
		if len(all) > 0 {
			s.annotate(runsKey, all.String())
		}
		s.Spec.Replicas = min(s.Spec.Replicas, all.wanted(s.minimum(), p.address.Pods.Replicas))
		return true, nil
	})
}
