package kubernetes

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"codeberg.org/stagex/sx/buildkit"
)

// Spec is what the pods of a [Pool] are like. Names that Kubernetes checks are passed on
// to it.
type Spec struct {
	Replicas       int    // the most pods
	Image          string // has buildkitd and buildctl, with buildkitd as entrypoint
	Rootless       bool
	Storage        string // size of each pod's volume; "": the node's disk, lost with the pod
	StorageClass   string
	Requests       map[string]string // by "cpu", "memory" and "ephemeral-storage"
	Limits         map[string]string
	NodeSelector   map[string]string
	Tolerations    []Toleration
	Spread         string // topology key; "": pods are not spread
	Labels         map[string]string
	Annotations    map[string]string
	ServiceAccount string
	Scheduler      string
	PriorityClass  string
	PullSecret     string
	Config         string        // a ConfigMap with buildkitd.toml; "": there is none
	Grace          time.Duration // how long a pod that must go may finish its build
	Wait           time.Duration // how long to wait until a pod is ready
}

// Toleration lets pods run on nodes with a taint.
type Toleration struct{ Key, Value, Effect string }

// maxReplicas is the most pods of one pool.
const maxReplicas = 256

// defaultGrace is longer than the longest build of StageX on two cores. An idle pod ends
// at once.
const defaultGrace = 12 * time.Hour

// defaultWait leaves time for a cluster that adds a node, and for an image to be pulled.
const defaultWait = 10 * time.Minute

// DefaultImage returns BuildKit's own image, of the version inside sx.
func DefaultImage(rootless bool) string {
	image := "docker.io/moby/buildkit:" + buildkit.Version()
	if rootless {
		image += "-rootless"
	}
	return image
}

// option reads one option of an address.
type option func(s *Spec, value string) error

// options are those that [NewSpec] accepts.
var options = map[string]option{
	"replicas": func(s *Spec, v string) (err error) {
		if s.Replicas, err = strconv.Atoi(v); err != nil || s.Replicas < 1 || s.Replicas > maxReplicas {
			return fmt.Errorf("want 1 to %d", maxReplicas)
		}
		return nil
	},
	"image": func(s *Spec, v string) error {
		s.Image = v
		if _, err := reference.ParseNormalizedNamed(v); err != nil {
			return errors.New("want an image, such as registry.example.org/buildkit@sha256:…")
		}
		return nil
	},
	"rootless": func(s *Spec, v string) (err error) {
		if s.Rootless, err = strconv.ParseBool(v); err != nil {
			return errors.New("want true or false")
		}
		return nil
	},
	"storage":        quantity(func(s *Spec) *string { return &s.Storage }),
	"storage-class":  named(func(s *Spec) *string { return &s.StorageClass }),
	"serviceaccount": named(func(s *Spec) *string { return &s.ServiceAccount }),
	"schedulername":  named(func(s *Spec) *string { return &s.Scheduler }),
	"priority-class": named(func(s *Spec) *string { return &s.PriorityClass }),
	"pull-secret":    named(func(s *Spec) *string { return &s.PullSecret }),
	"config":         named(func(s *Spec) *string { return &s.Config }),
	"nodeselector":   pairs(validation.IsValidLabelValue, func(s *Spec) *map[string]string { return &s.NodeSelector }),
	"labels":         pairs(validation.IsValidLabelValue, func(s *Spec) *map[string]string { return &s.Labels }),
	"annotations":    pairs(nil, func(s *Spec) *map[string]string { return &s.Annotations }),
	"grace":          period(time.Second, 7*24*time.Hour, func(s *Spec) *time.Duration { return &s.Grace }),
	"wait":           period(time.Second, 24*time.Hour, func(s *Spec) *time.Duration { return &s.Wait }),
	"tolerations":    tolerations,
	"spread": func(s *Spec, v string) error {
		s.Spread = v
		if v == "none" {
			s.Spread = ""
			return nil
		}
		return firstOf(validation.IsQualifiedName(v))
	},
	"requests.cpu":               amount("cpu", requests),
	"requests.memory":            amount("memory", requests),
	"requests.ephemeral-storage": amount("ephemeral-storage", requests),
	"limits.cpu":                 amount("cpu", limits),
	"limits.memory":              amount("memory", limits),
	"limits.ephemeral-storage":   amount("ephemeral-storage", limits),
}

func requests(s *Spec) *map[string]string { return &s.Requests }
func limits(s *Spec) *map[string]string   { return &s.Limits }

// NewSpec reads the options of an address. Each may be given once; an unknown one is an
// error.
func NewSpec(values url.Values) (Spec, error) {
	s := Spec{Replicas: 1, Spread: "kubernetes.io/hostname", Grace: defaultGrace, Wait: defaultWait}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		read, ok := options[name]
		if !ok {
			return Spec{}, fmt.Errorf("there is no option %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(options)), ", "))
		}
		if len(values[name]) > 1 {
			return Spec{}, fmt.Errorf("the option %s is given %d times", name, len(values[name]))
		}
		if err := read(&s, values.Get(name)); err != nil {
			return Spec{}, fmt.Errorf("the option %s=%s: %w", name, values.Get(name), err)
		}
	}
	if s.Image == "" {
		s.Image = DefaultImage(s.Rootless)
	}
	if s.StorageClass != "" && s.Storage == "" {
		return Spec{}, errors.New("the option storage-class needs storage=SIZE")
	}
	return s, nil
}

func firstOf(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return errors.New(problems[0])
}

// named reads the name of an object.
func named(at func(*Spec) *string) option {
	return func(s *Spec, v string) error {
		*at(s) = v
		return firstOf(validation.IsDNS1123Subdomain(v))
	}
}

func checkQuantity(v string) error {
	if q, err := resource.ParseQuantity(v); err != nil || q.Sign() <= 0 {
		return errors.New("want an amount as Kubernetes has it, such as 500m, 4, 16Gi")
	}
	return nil
}

func quantity(at func(*Spec) *string) option {
	return func(s *Spec, v string) error {
		*at(s) = v
		return checkQuantity(v)
	}
}

func amount(of string, at func(*Spec) *map[string]string) option {
	return func(s *Spec, v string) error {
		m := at(s)
		if *m == nil {
			*m = map[string]string{}
		}
		(*m)[of] = v
		return checkQuantity(v)
	}
}

// pairs reads KEY=VALUE,KEY=VALUE.
func pairs(check func(string) []string, at func(*Spec) *map[string]string) option {
	return func(s *Spec, v string) error {
		m := map[string]string{}
		for pair := range strings.SplitSeq(v, ",") {
			key, value, ok := strings.Cut(pair, "=")
			if !ok {
				return errors.New("want KEY=VALUE,KEY=VALUE")
			}
			if err := firstOf(validation.IsQualifiedName(key)); err != nil {
				return err
			}
			if check != nil && len(check(value)) > 0 {
				return firstOf(check(value))
			}
			if ours(key) {
				return fmt.Errorf("%s is sx's own", key)
			}
			m[key] = value
		}
		*at(s) = m
		return nil
	}
}

// ours reports whether sx itself sets the label or annotation.
func ours(key string) bool {
	_, label := poolLabels("")[key]
	return label || strings.HasPrefix(key, domain)
}

func period(least, most time.Duration, at func(*Spec) *time.Duration) option {
	return func(s *Spec, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < least || d > most || d%time.Second != 0 {
			return fmt.Errorf("want whole seconds from %s to %s, such as 90s or 2h", least, most)
		}
		*at(s) = d
		return nil
	}
}

// taintEffects are the effects of taints.
var taintEffects = []string{"NoSchedule", "PreferNoSchedule", "NoExecute"}

// tolerations reads taints in kubectl's form: KEY[=VALUE][:EFFECT],….
func tolerations(s *Spec, v string) error {
	for text := range strings.SplitSeq(v, ",") {
		var t Toleration
		taint, effect, hasEffect := strings.Cut(text, ":")
		t.Effect = effect
		t.Key, t.Value, _ = strings.Cut(taint, "=")
		if hasEffect && !slices.Contains(taintEffects, effect) || len(validation.IsQualifiedName(t.Key)) > 0 || len(validation.IsValidLabelValue(t.Value)) > 0 {
			return fmt.Errorf("want taints as KEY[=VALUE][:EFFECT],… with one of the effects %s", strings.Join(taintEffects, ", "))
		}
		s.Tolerations = append(s.Tolerations, t)
	}
	return nil
}
