package main

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/signature"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// writePolicy writes into dir the files with which podman and skopeo check signatures
// themselves. It reads only the user's settings, not a tree's.
func writePolicy(a *app, dir string, require []string, o signatureOptions) error {
	set, err := userSettings(a)
	if err != nil {
		return err
	}
	ring, _, err := loadKeyring()
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	opts := signature.PolicyOptions{Dir: dir, Require: require}
	if o.from != "" || set.Signatures.From != "" {
		from, err := o.place(set, "")
		if err != nil {
			return err
		}
		opts.Lookaside = lookasideAddress(from)
	}
	for _, r := range preseedSettings(set).Registries {
		opts.Registries = append(opts.Registries, r.String())
	}
	files, err := ring.Policy(opts)
	if err != nil {
		return usageError{err}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := signature.Replace(path, files[name]); err != nil {
			return err
		}
	}
	tellPolicy(a, opts)
	return nil
}

// lookasideAddress returns from as a URL, as containers-registries.d(5) wants it.
func lookasideAddress(from string) string {
	if strings.Contains(from, "://") {
		return from
	}
	return (&url.URL{Scheme: "file", Path: from}).String()
}

func tellPolicy(a *app, o signature.PolicyOptions) {
	dir := text.Field(o.Dir)
	fmt.Fprintf(a.stderr, `sx: %[1]s/policy.json is for podman pull --signature-policy, skopeo --policy, or ~/.config/containers
sx: %[1]s/registries.d/stagex.yaml is for ~/.config/containers/registries.d, or skopeo --registries.d
sx: the policy accepts images of %[2]s, and refuses all others
sx: podman and skopeo have no quorum: %[3]s
sx: they cannot read the signatures published up to 2025.06.0, and ignore the dates of revocations
`, dir, text.Field(strings.Join(o.Registries, ", ")), requirements(o.Require))
	for _, r := range o.Registries {
		if !strings.HasSuffix(r, "/stagex") || strings.Count(r, "/") > 1 {
			fmt.Fprintf(a.stderr, "sx: warning: they look for signatures of %s below its own path, where upstream publishes none\n", text.Field(r))
		}
	}
}

func requirements(people []string) string {
	if len(people) == 0 {
		return "a signature of any key that you trust is enough; --require PERSON,PERSON requires one of each"
	}
	return "a signature of each of these is required: " + text.Field(strings.Join(people, ", "))
}
