package graph

import "slices"

// PackageKeys returns the keys of [package] in package.toml.
func PackageKeys() []string { return slices.Clone(packageKeys) }

// SourceKeys returns the keys of each [sources.<key>] in package.toml.
func SourceKeys() []string { return slices.Clone(sourceKeys) }
