package settings

import (
	"strings"
	"time"
)

// key is one setting.
type key struct {
	name     string // "fetch.per_host": section and key of stagex.toml
	also     string // a variable of other programs that says the same where ours does not; "" for none
	userOnly string // why a tree may not say it; "" where it may
	set      func(*Settings, string) error
	limit    func(*Settings) *int64 // of a cap, which a tree can only lower
}

// env returns the variable that says the same: "SX_FETCH_PER_HOST".
func (k key) env() string {
	return "SX_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

const (
	ofTheMachine = "it depends on the machine, not on the packages"
	ofTheUser    = "it is about the person at the terminal, not about the packages"
	ofTheAudit   = "the tree may be the thing under audit, and has no say in what builds and judges it"
	ofTheRequest = "it is how the user's machine presents itself to servers, which no tree may choose for it"
)

// keys are all settings, in the order of the reference file.
var keys = []key{
	{name: "build.jobs", userOnly: ofTheMachine, set: to(number(0, 1024), func(s *Settings) *int { return &s.Build.Jobs })},
	{name: "build.memory", userOnly: ofTheMachine, set: to(ParseSize, func(s *Settings) *int64 { return &s.Build.Memory })},
	{name: "build.disk_floor", userOnly: ofTheMachine, set: to(ParseSize, func(s *Settings) *int64 { return &s.Build.DiskFloor })},
	{name: "build.keep_going", userOnly: ofTheUser, set: to(parseBool, func(s *Settings) *bool { return &s.Build.KeepGoing })},
	{name: "build.platform", set: to(parsePlatforms, func(s *Settings) *[]string { return &s.Build.Platforms })},
	{name: "build.progress", userOnly: ofTheUser, set: to(parseProgress,
		func(s *Settings) *string { return &s.Build.Progress })},

	{name: "fetch.jobs", set: to(number(1, 256), func(s *Settings) *int { return &s.Fetch.Jobs })},
	{name: "fetch.per_host", set: to(number(1, 64), func(s *Settings) *int { return &s.Fetch.PerHost })},
	{name: "fetch.retries", set: to(number(0, 20), func(s *Settings) *int { return &s.Fetch.Retries })},
	{name: "fetch.stall", set: to(parseDuration(time.Second, time.Hour), func(s *Settings) *time.Duration { return &s.Fetch.Stall })},
	limited("fetch.max_file", func(s *Settings) *int64 { return &s.Fetch.MaxFile }),
	limited("fetch.max_partial", func(s *Settings) *int64 { return &s.Fetch.MaxPartial }),
	{name: "fetch.user_agent", userOnly: ofTheRequest, set: to(parseUserAgent, func(s *Settings) *string { return &s.Fetch.UserAgent })},
	{name: "fetch.from", userOnly: ofTheRequest, set: to(parseSources, func(s *Settings) *string { return &s.Fetch.From })},

	{name: "registries.hosts", userOnly: ofTheAudit, set: to(parseHosts, func(s *Settings) *[]string { return &s.Registries.Hosts })},
	{name: "registries.namespace", set: to(parseNamespace, func(s *Settings) *string { return &s.Registries.Namespace })},
	{name: "registries.mirrors", userOnly: ofTheAudit, set: to(noneOr(parseRegistries), func(s *Settings) *[]string { return &s.Registries.Mirrors })},
	{name: "registries.foreign", userOnly: ofTheAudit, set: to(noneOr(parseForeign), func(s *Settings) *[]string { return &s.Registries.Foreign })},
	{name: "registries.plain_http", userOnly: ofTheAudit, set: to(noneOr(parseHosts), func(s *Settings) *[]string { return &s.Registries.PlainHTTP })},
	{name: "registries.ca_file", userOnly: ofTheAudit, set: to(parsePath, func(s *Settings) *string { return &s.Registries.CAFile })},
	{name: "registries.per_host", set: to(number(1, 64), func(s *Settings) *int { return &s.Registries.PerHost })},

	{name: "release.hosts", userOnly: ofTheAudit, set: to(noneOr(parseRegistries), func(s *Settings) *[]string { return &s.Release.Hosts })},
	{name: "signatures.quorum", userOnly: ofTheAudit, set: to(number(1, 64), func(s *Settings) *int { return &s.Signatures.Quorum })},
	{name: "signatures.from", userOnly: ofTheAudit, set: to(parseSignatures, func(s *Settings) *string { return &s.Signatures.From })},

	{name: "engine.address", also: "BUILDKIT_HOST", userOnly: ofTheAudit, set: to(parseEngines, func(s *Settings) *string { return &s.Engine.Address })},
	{name: "engine.tlscacert", userOnly: ofTheAudit, set: to(parsePath, func(s *Settings) *string { return &s.Engine.TLSCACert })},
	{name: "engine.tlscert", userOnly: ofTheAudit, set: to(parsePath, func(s *Settings) *string { return &s.Engine.TLSCert })},
	{name: "engine.tlskey", userOnly: ofTheAudit, set: to(parsePath, func(s *Settings) *string { return &s.Engine.TLSKey })},
	{name: "engine.tlsservername", userOnly: ofTheAudit, set: to(parseWord, func(s *Settings) *string { return &s.Engine.TLSServerName })},
	{name: "engine.tlsdir", userOnly: ofTheAudit, set: to(parsePath, func(s *Settings) *string { return &s.Engine.TLSDir })},
	{name: "engine.hub", userOnly: ofTheAudit, set: to(parseHub, func(s *Settings) *string { return &s.Engine.Hub })},
	{name: "engine.results", userOnly: ofTheUser, set: to(oneOf("targets", "all", "none"), func(s *Settings) *string { return &s.Engine.Results })},
	{name: "engine.reconnect", userOnly: ofTheMachine, set: to(parseDuration(time.Second, 24*time.Hour), func(s *Settings) *time.Duration { return &s.Engine.Reconnect })},
	{name: "engine.podman_image", userOnly: ofTheAudit, set: to(parseWord, func(s *Settings) *string { return &s.Engine.PodmanImage })},
	{name: "engine.runc", userOnly: ofTheAudit, set: to(parsePath, func(s *Settings) *string { return &s.Engine.Runc })},
	{name: "engine.snapshotter", userOnly: ofTheAudit, set: to(oneOf("auto", "overlayfs", "native"),
		func(s *Settings) *string { return &s.Engine.Snapshotter })},
	{name: "engine.gzip", userOnly: ofTheAudit, set: to(oneOf("sx", "go"), func(s *Settings) *string { return &s.Engine.Gzip })},
	{name: "engine.cache_size", userOnly: ofTheMachine, set: to(parseSize, func(s *Settings) *int64 { return &s.Engine.CacheSize })},

	{name: "paths.state", userOnly: ofTheMachine, set: to(parsePath, func(s *Settings) *string { return &s.Paths.State })},
}

// to joins a parser and a field into a setter that leaves the field alone on an error.
func to[T any](parse func(string) (T, error), field func(*Settings) *T) func(*Settings, string) error {
	return func(s *Settings, text string) error {
		v, err := parse(text)
		if err == nil {
			*field(s) = v
		}
		return err
	}
}

// limited is a cap in bytes.
func limited(name string, field func(*Settings) *int64) key {
	return key{name: name, set: to(parseSize, field), limit: field}
}

func keyNamed(name string) (key, bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	if k, ok := engineKey(name); ok {
		return k, true
	}
	return packageKey(name)
}

// hasSection reports that some key lies in a section.
func hasSection(name string) bool {
	if name == packages || name == engines {
		return true
	}
	for _, k := range keys {
		if strings.HasPrefix(k.name, name+".") {
			return true
		}
	}
	return false
}
