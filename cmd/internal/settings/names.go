package settings

import (
	"maps"
	"slices"
)

// Names returns all settings, such as "fetch.per_host", in the order of the reference
// file.
func Names() []string { return names() }

// UserOnly reports whether a tree's file may not have the setting.
func UserOnly(name string) bool {
	k, ok := keyNamed(name)
	return ok && k.userOnly != ""
}

// PackageKeys returns the keys of each [packages."<name>"], sorted.
func PackageKeys() []string { return slices.Sorted(maps.Keys(packageKeys)) }

// EngineKeys returns the keys of each [engines.NAME], sorted.
func EngineKeys() []string { return slices.Sorted(maps.Keys(engineKeys)) }
