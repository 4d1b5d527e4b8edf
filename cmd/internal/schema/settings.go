package schema

import (
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/settings"
)

// settingsTOML is the schema of stagex.toml, the user's and the tree's.
func settingsTOML() *Schema {
	s := table("Settings of sx. All are optional.", map[string]*Schema{})
	s.Draft, s.Title = Draft, "stagex.toml"
	for name, setting := range values() {
		section, key, _ := strings.Cut(name, ".")
		if s.Properties[section] == nil {
			s.Properties[section] = table("", map[string]*Schema{})
		}
		if settings.UserOnly(name) {
			setting.Description += " Only in the user's file."
		}
		s.Properties[section].Properties[key] = setting
	}
	s.Properties["engines"] = &Schema{
		Description: "Engines by the names that --engine takes. Only in the user's file.", Type: "object",
		Additional: table("", map[string]*Schema{
			"address":       word("Where it is, as engine.address says it.", ""),
			"tlscacert":     path("The certificate of the authority that signed the engine's."),
			"tlscert":       path("The client's certificate."),
			"tlskey":        path("The client's key."),
			"tlsservername": word("The name that the engine's certificate is for.", ""),
			"tlsdir":        path("A folder with ca.pem, cert.pem and key.pem."),
			"jobs":          number("Outputs built on it at once; 0: build.jobs.", 0, 1024, 0),
			"memory":        size("Memory for all its builds at once; \"0\": build.memory.", "0"),
			"platform":      word("The only platforms that it builds for, with commas between them.", ""),
			"labels":        word("Words by which packages choose it, with commas between them.", ""),
		}),
	}
	s.Properties["packages"] = &Schema{
		Description: "Properties of single outputs, or of all outputs of a definition.", Type: "object",
		Additional: table("", map[string]*Schema{
			"memory": size("The most memory that building it needs.", ""),
			"time":   span("How long building it takes, until a build tells.", ""),
			"engine": word("The engines that may build it: names, labels or platforms, with commas between them. Only in the user's file.", ""),
		}),
	}
	return s
}

// values are the settings. Numbers and booleans may be written as strings, too.
func values() map[string]*Schema {
	return map[string]*Schema{
		"build.jobs":       number("Outputs built at once; 0: one for each core, but at most 8.", 0, 1024, 0),
		"build.memory":     size("Memory for all builds at once; \"0\": nine tenths of the machine's.", "0"),
		"build.disk_floor": size("Free space to keep on the disk of out/.", "2GiB"),
		"build.keep_going": boolean("After a failure, go on with what does not depend on it.", false),
		"build.platform":   word("Platforms to build for, with commas between them.", "linux/amd64"),
		"build.progress":   words("How progress is shown.", "auto", "plain", "tty", "rawjson", "quiet", "none"),

		"fetch.jobs":        number("Downloads at once.", 1, 256, 16),
		"fetch.per_host":    number("Of these, from one host.", 1, 64, 4),
		"fetch.retries":     number("Further tries at a mirror.", 0, 20, 3),
		"fetch.stall":       span("A mirror that sends nothing for so long is given up.", "30s"),
		"fetch.max_file":    size("The largest source.", "8GiB"),
		"fetch.max_partial": size("The largest sum of unfinished downloads.", "32GiB"),
		"fetch.user_agent":  word("The User-Agent header; \"\": sx/<version>.", ""),
		"fetch.from":        word("A registry's repository to ask for sources before their mirrors.", ""),

		"registries.hosts":      word("Where images are published: hosts with commas between them.", "docker.io, quay.io"),
		"registries.namespace":  word("The namespace below each host.", "stagex"),
		"registries.mirrors":    word("Further registries: \"<host>/<namespace>\" with commas between them.", ""),
		"registries.foreign":    word("Hosts of images that definitions may be built from, with commas between them.", ""),
		"registries.plain_http": word("Registries that may be spoken to without TLS.", ""),
		"registries.ca_file":    path("Certificates to trust beside the system's."),
		"registries.per_host":   number("Requests at once to one registry.", 1, 64, 6),

		"release.hosts":     word("Where sx release publishes: \"<host>/<namespace>\" with commas between them.", ""),
		"signatures.quorum": number("Different people who must have signed an image.", 1, 64, 2),
		"signatures.from":   word("Where signatures are: an https address, or an absolute path.", ""),

		"engine.address":       word("Where builds run: embedded, docker, podman, or an address.", "embedded"),
		"engine.hub":           word("A repository of a registry through which engines elsewhere exchange images: oci://HOST/NAMESPACE.", ""),
		"engine.results":       words("Which images a build with a hub brings to out/.", "targets", "all", "none"),
		"engine.tlscacert":     path("The certificate of the authority that signed the engine's."),
		"engine.tlscert":       path("The client's certificate."),
		"engine.tlskey":        path("The client's key."),
		"engine.tlsservername": word("The name that the engine's certificate is for.", ""),
		"engine.tlsdir":        path("A folder with ca.pem, cert.pem and key.pem."),
		"engine.reconnect":     span("How long an engine elsewhere that went away is waited for.", "5m"),
		"engine.podman_image":  word("The image of the container that \"podman\" runs.", ""),
		"engine.runc":          path("The runc to build with."),
		"engine.snapshotter":   words("How the engine stacks layers.", "auto", "overlayfs", "native"),
		"engine.gzip":          words("What compresses layers.", "sx", "go"),
		"engine.cache_size":    size("What the engine's cache keeps after a build.", "50GiB"),

		"paths.state": path("A folder for sx's state; \"\": .sx in the tree."),
	}
}

func word(description, standard string) *Schema {
	return &Schema{Description: description, Type: "string", Default: standard}
}

// words takes the first as the default.
func words(description string, all ...string) *Schema {
	return &Schema{Description: description, Type: "string", Enum: all, Default: all[0]}
}

func path(description string) *Schema {
	return &Schema{Description: description, Type: "string", Pattern: "^(/|$)", Default: ""}
}

func number(description string, least, most, standard int64) *Schema {
	return &Schema{Description: description, Type: []string{"integer", "string"}, Minimum: &least, Maximum: &most, Default: standard}
}

func boolean(description string, standard bool) *Schema {
	return &Schema{Description: description, Type: []string{"boolean", "string", "integer"}, Default: standard}
}

// size is bytes: "8GiB" or "8GB".
func size(description, standard string) *Schema {
	s := &Schema{Description: description + " \"8GiB\" is 8·2³⁰ bytes, \"8GB\" 8·10⁹.", Type: []string{"string", "integer"}}
	if standard != "" {
		s.Default = standard
	}
	return s
}

// span is a time in Go's spelling: "30s", "2h30m".
func span(description, standard string) *Schema {
	s := &Schema{Description: description + " Such as \"30s\" or \"2h30m\".", Type: "string"}
	if standard != "" {
		s.Default = standard
	}
	return s
}
