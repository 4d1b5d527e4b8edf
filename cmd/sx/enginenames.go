package main

import (
	"maps"
	"slices"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/cache"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// engineInfos returns the engines elsewhere of the settings and flags, as records have
// them: a verdict calls an engine by the user's present name for it. It opens no connection.
func (a *app) engineInfos(set settings.Settings) func() []cache.EngineInfo {
	return func() (all []cache.EngineInfo) {
		add := func(name string, at settings.NamedEngine) {
			if at.Address == buildkit.EmbeddedKind {
				return
			}
			if e, err := a.engineAt(nil, set, at, silent{}); err == nil { // what builds tells errors
				all = append(all, cache.EngineInfo{Kind: e.Kind(), Name: name, Address: text.Redact(buildkit.EngineName(e))})
			}
		}
		for _, name := range slices.Sorted(maps.Keys(set.Engines)) {
			add(name, set.Engines[name])
		}
		names, chosen := set.Selected()
		for i, at := range chosen {
			add(names[i], at)
		}
		return all
	}
}

// silent is a talker that says nothing.
type silent struct{}

func (silent) Waiting(string) {}
func (silent) Warn(string)    {}
