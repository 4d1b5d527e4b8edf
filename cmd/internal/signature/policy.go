package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// PolicyOptions say what a policy of podman and skopeo is about.
type PolicyOptions struct {
	Dir        string   // absolute path of the folder that the files will lie in
	Registries []string // "<host>/<namespace>" where StageX images are; the first is what signatures name
	Lookaside  string   // https or file address that signatures lie below; "" for none
	Require    []string // people who must all have signed; none: any one trusted key
}

// signedPrefix is what a reference in a payload means: it names no host, and docker.io is the default.
const signedPrefix = "docker.io/stagex"

// A requirement is containers-policy.json(5)'s signedBy.
type requirement struct {
	Type           string    `json:"type"`
	KeyType        string    `json:"keyType,omitempty"`
	KeyPath        string    `json:"keyPath,omitempty"`
	SignedIdentity *identity `json:"signedIdentity,omitempty"`
}

type identity struct {
	Type         string `json:"type"`
	Prefix       string `json:"prefix,omitempty"`
	SignedPrefix string `json:"signedPrefix,omitempty"`
}

// Policy returns files by their path below o.Dir: policy.json, registries.d/stagex.yaml and the keys. It is the nearest to
// sx's own rule that podman and skopeo can enforce: they know no quorum, only requirements that must all hold, each of which
// any one of its keys meets, and they do not read payloads of the old form. Every other image is refused.
func (r *Keyring) Policy(o PolicyOptions) (map[string][]byte, error) {
	if len(r.Keys) == 0 {
		return nil, errors.New("you trust no key yet: sx keys import FILE --fingerprint FINGERPRINT")
	}
	files := map[string][]byte{}
	var paths []string
	for i, person := range o.Require {
		name, keys := fmt.Sprintf("keys/require-%d.gpg", len(paths)+1), r.keysOf(person)
		twice := slices.ContainsFunc(o.Require[:i], func(before string) bool { return SamePerson(before, person) })
		switch {
		case twice:
			return nil, fmt.Errorf("%q is required twice, and signs once", person)
		case person == "" || len(keys) == 0: // "" would mean any key
			return nil, fmt.Errorf("no key of yours is %q's; there are %s", person, strings.Join(r.People(), ", "))
		}
		files[name], paths = keys, append(paths, name)
	}
	if len(o.Require) == 0 {
		paths = []string{"keys/any.gpg"}
		files[paths[0]] = r.keysOf("")
	}
	docker := map[string][]requirement{}
	for _, registry := range o.Registries {
		for _, path := range paths {
			docker[registry] = append(docker[registry], requirement{
				Type: "signedBy", KeyType: "GPGKeys", KeyPath: filepath.Join(o.Dir, path), SignedIdentity: identityFor(registry),
			})
		}
	}
	policy := map[string]any{
		"default":    []requirement{{Type: "reject"}},
		"transports": map[string]any{"docker": docker},
	}
	text, err := json.MarshalIndent(policy, "", "    ")
	if err != nil {
		return nil, err
	}
	files["policy.json"] = append(text, '\n')
	files["registries.d/stagex.yaml"] = lookasides(o)
	return files, nil
}

// identityFor holds the payload's reference against the pulled one: a tag must be equal, a digest takes any tag of the
// repository.
func identityFor(registry string) *identity {
	if registry == signedPrefix {
		return &identity{Type: "matchRepoDigestOrExact"}
	}
	return &identity{Type: "remapIdentity", Prefix: registry, SignedPrefix: signedPrefix}
}

// keysOf returns the keys of a person in one file, or all of r.
func (r *Keyring) keysOf(person string) []byte {
	var b bytes.Buffer
	for _, t := range r.Keys {
		if person == "" || SamePerson(t.Person, person) {
			b.Write(t.Key.Binary())
		}
	}
	return b.Bytes()
}

// lookasides is a file for containers-registries.d(5). JSON is YAML, and quotes every name safely.
func lookasides(o PolicyOptions) []byte {
	var b bytes.Buffer
	b.WriteString("# Where podman and skopeo find the signatures of StageX images.\ndocker:\n")
	if o.Lookaside == "" {
		return []byte("# sx was told no address of signatures: sx verify --write-policy DIR --signatures-from URL\ndocker: {}\n")
	}
	for _, registry := range slices.Sorted(slices.Values(o.Registries)) {
		scope, _ := json.Marshal(registry)
		address, _ := json.Marshal(o.Lookaside)
		fmt.Fprintf(&b, "  %s:\n    lookaside: %s\n", scope, address)
	}
	return b.Bytes()
}
