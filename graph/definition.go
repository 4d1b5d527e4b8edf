package graph

// Definition is one folder packages/<stage>/<name>. Its outputs, one or a
// family of them, are built from the same Containerfile and the same sources.
// It is shared and must not be changed.
type Definition struct {
	Stage, Name string
	Dir         string // "packages/<stage>/<name>", slashes
	Version     string // resolved through version_from; "" when it has none
	VersionFrom Ref    // the output whose version it takes; zero where it takes none

	Description, License, Website string

	Platforms []string // that the definition forces; empty: the user's choice
	Sources   []Source // by key
	Outputs   []Ref    // sorted
	Images    []Image  // of other registries, by name and platform

	// UnknownKeys are the keys of package.toml that sx does not know, such as
	// "package.patches": they are in no [Request], though they may mean something.
	UnknownKeys []string

	// The bytes that were parsed: what is built is what was checked. Nil where a
	// [Memory] spared reading them.
	Containerfile, PackageTOML []byte

	at int // among the graph's definitions
}

// Number is the definition's place in [Graph.Definitions].
func (d *Definition) Number() int { return d.at }

// Fetch is the folder of the definition's sources, "fetch/<stage>/<name>".
func (d *Definition) Fetch() string { return "fetch/" + d.Stage + "/" + d.Name }

// Source is one file that a definition downloads.
type Source struct {
	Key     string   // in [sources.<key>]
	File    string   // name in the fetch folder, expanded
	Path    string   // "fetch/<stage>/<name>/<file>"
	Hash    Hash     //
	Mirrors []string // URLs, expanded, in the order to try

	Version string // its own; "" when it takes the definition's
	GitSHA  string
	Format  string

	// ArgFile is what <KEY>_SOURCE says where Version is set. It may differ from
	// File: upstream expands it with the definition's {version_dash} and
	// {version_under} (src/targets.py, get_build_args).
	ArgFile string
}

// Output is what is built, tagged, pushed and listed in digests/. It is shared
// and must not be changed.
type Output struct {
	Ref        Ref
	Definition *Definition
	Version    string // the definition's
	Target     string // stage of the Containerfile; "" is the last
	Deps       []Ref  // sorted, distinct

	name string    // Ref's text
	at   int       // among the graph's outputs
	deps []*Output // Deps
}

// String is "<stage>-<name>".
func (o *Output) String() string { return o.name }

// Number is the output's place in [Graph.Outputs].
func (o *Output) Number() int { return o.at }

// Inputs are the outputs that Deps names, in the same order. The caller must not
// change them.
func (o *Output) Inputs() []*Output { return o.deps }

// Tag is the version, or "latest".
func (o *Output) Tag() string {
	if o.Version == "" {
		return "latest"
	}
	return o.Version
}
