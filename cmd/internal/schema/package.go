package schema

// packageTOML is the schema of a definition's package.toml.
//
// Source: upstream's package.toml(5), and the checks of package graph.
func packageTOML() *Schema {
	about := table("What the package is.", map[string]*Schema{
		"name":         {Description: "The name of the folder.", Type: "string", MinLength: 1},
		"version":      pattern(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`, "The version, which is also the tag of the image. Not with version_from."),
		"version_from": pattern(`^(bootstrap|core|pallet|user)-.`, "The output whose version this one takes: \"core-python\". Not with version."),
		"description":  text("What it is, in a few words."),
		"license":      text("The licence, an SPDX expression: \"GPL-2.0-or-later AND MIT\"."),
		"website":      text("The project's page."),
		"subpackages": list(&Schema{Type: "string", MinLength: 1},
			"The outputs, if not one of the definition's name: <stage>-<subpackage> is built from the stage package-<subpackage>."),
		"platforms": list(pattern(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$`, ""), "The platforms to build for, whatever the user chooses: \"linux/386\"."),
	})
	about.Required = []string{"name"}
	about.Not = &Schema{Required: []string{"version", "version_from"}}
	about.Properties["subpackages"].Unique = true
	about.Properties["platforms"].Unique = true

	source := table("A file that the build needs.", map[string]*Schema{
		"hash":    pattern(`^[0-9a-f]{64}$`, "The sha256 of the file, in lower-case hexadecimal digits. sx hash --write writes it."),
		"version": pattern(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`, "Its own version, if that is not the package's. It sets the build arguments <KEY>_VERSION and <KEY>_SOURCE."),
		"file":    {Description: "The file's name, with placeholders: \"zlib-{version}.{format}\". Without it, the last part of the first mirror's address.", Type: "string", MinLength: 1},
		"format":  pattern(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`, "The value of {format}: \"tar.gz\"."),
		"git_sha": pattern(`^[0-9a-f]{7,64}$`, "The commit, which sets the build argument <KEY>_GIT_SHA."),
		"mirrors": list(pattern(`^(https?://|\{)`, ""),
			"Addresses of the file, asked in this order. Placeholders: {version}, {version_major}, {version_major_minor}, {version_dash}, {version_under}, {version_strip_suffix}, {format}, {file}."),
	})
	source.Required = []string{"hash", "mirrors"}
	source.Properties["mirrors"].MinItems = 1

	sources := &Schema{
		Description: "Files that the build needs, by a key that names build arguments.", Type: "object",
		Names: &Schema{Pattern: `^[A-Za-z0-9_][A-Za-z0-9_-]*$`}, Additional: source,
	}
	s := table("A definition of StageX: packages/<stage>/<name>/package.toml.", map[string]*Schema{"package": about, "sources": sources})
	s.Draft, s.Title, s.Required = Draft, "package.toml", []string{"package"}
	return s
}
