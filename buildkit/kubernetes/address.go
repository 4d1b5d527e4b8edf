package kubernetes

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Scheme is the scheme of the address of a [Pool].
const Scheme = "kubernetes"

// addressForm is the form of the addresses that [ParseAddress] accepts.
const addressForm = "kubernetes://[CONTEXT/]NAMESPACE/NAME[?OPTION=VALUE&…]"

// Address says which StatefulSet a [Pool] is, and what its pods are like.
type Address struct {
	Context   string // of the kubeconfig; "": its current one, or the pod's own cluster
	Namespace string
	Name      string // of the StatefulSet
	Pods      Spec
}

// maxName is the length of the longest name: Kubernetes adds an ordinal or a hash to it,
// and takes at most 63 bytes.
const maxName = 50

// ParseAddress parses kubernetes://[CONTEXT/]NAMESPACE/NAME?OPTION=VALUE&…. A context may
// contain slashes; any other special byte is percent-encoded. [NewSpec] has the options.
func ParseAddress(text string) (Address, error) {
	rest, ok := strings.CutPrefix(text, Scheme+"://")
	if !ok {
		return Address{}, fmt.Errorf("want %s", addressForm)
	}
	rest, query, _ := strings.Cut(rest, "?")
	parts := strings.Split(rest, "/")
	if len(parts) < 2 || slices.Contains(parts, "") {
		return Address{}, fmt.Errorf("want %s", addressForm)
	}
	at := len(parts) - 2
	context, err := url.PathUnescape(strings.Join(parts[:at], "/"))
	if err != nil {
		return Address{}, fmt.Errorf("reading the context: %w", err)
	}
	a := Address{Context: context, Namespace: parts[at], Name: parts[at+1]}
	if err := errors.Join(checkName("namespace", a.Namespace, 63), checkName("name", a.Name, maxName)); err != nil {
		return Address{}, err
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Address{}, fmt.Errorf("reading the options: %w", err)
	}
	a.Pods, err = NewSpec(values)
	return a, err
}

func checkName(what, name string, most int) error {
	if len(name) > most || len(validation.IsDNS1123Label(name)) > 0 {
		return fmt.Errorf("the %s %q: want at most %d of a-z, 0-9 and -, with a letter or digit at both ends", what, name, most)
	}
	return nil
}

// String returns the address without its options: which StatefulSet it is.
func (a Address) String() string {
	context := ""
	if a.Context != "" {
		context = escapeContext(a.Context) + "/"
	}
	return Scheme + "://" + context + a.Namespace + "/" + a.Name
}

// escapeContext escapes what would end the context in an address, or look like a user.
func escapeContext(context string) string {
	return strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23", "@", "%40", " ", "%20").Replace(context)
}
