package main

import (
	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/remote"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// engineInfos returns the engines of the settings, as records have them: a verdict calls
// an engine by the user's present name for it. No connection is opened.
func engineInfos(set settings.Settings) func() []cache.EngineInfo {
	return func() (all []cache.EngineInfo) {
		if e := engineAt(set.Engine); e != nil {
			all = append(all, cache.EngineInfo{Kind: e.Kind(), Address: text.Redact(buildkit.EngineName(e))})
		}
		return all
	}
}

// engineAt returns the engine elsewhere of an address; nil if there is none.
func engineAt(e settings.Engine) buildkit.Engine {
	switch e.Address {
	case buildkit.EmbeddedKind, "":
		return nil
	case "docker":
		return remote.Docker{}
	case "podman":
		return &remote.Podman{}
	}
	r, err := remote.NewBuildkitd(e.Address, remote.TLS{})
	if err != nil {
		return nil // what builds says so
	}
	return r
}
