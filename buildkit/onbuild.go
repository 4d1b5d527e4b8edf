package buildkit

import (
	"fmt"

	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cache/oci"
)

// checkTriggers refuses dependencies whose image has ONBUILD instructions. BuildKit would
// run them in this build although they are in no checked file of the tree, and they may
// name a registry (moby/buildkit: dockerfile2llb, resolveStages).
func checkTriggers(store *cache.Store, job Job) error {
	for name, l := range job.Deps {
		for _, m := range l.Manifests {
			triggers, err := triggers(store, m.Digest)
			if err != nil {
				return fmt.Errorf("reading out/%s: %w", name, err)
			}
			if len(triggers) > 0 {
				return &BuildError{
					Ref: job.Ref, File: job.Request.File, Line: lineOf(job.Files, "stagex/"+name),
					Err: fmt.Errorf("the image of %s has ONBUILD instructions (%q), which would run here unseen: write them into this Containerfile, and build %[1]s without them", name, triggers[0]),
				}
			}
		}
	}
	return nil
}

// triggers returns the ONBUILD instructions of an image. They are a part of docker's
// config that the OCI specification does not have.
func triggers(store *cache.Store, manifest oci.Digest) ([]string, error) {
	var m struct{ Config struct{ Digest string } }
	if err := decodeBlob(store, manifest, &m); err != nil {
		return nil, err
	}
	d, err := oci.ParseDigest(m.Config.Digest)
	if err != nil {
		return nil, err
	}
	var cfg struct{ Config struct{ OnBuild []string } }
	err = decodeBlob(store, d, &cfg)
	return cfg.Config.OnBuild, err
}
