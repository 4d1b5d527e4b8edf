package settings

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/platforms"
	imageref "github.com/distribution/reference"
	"github.com/docker/go-units"

	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/preseed"
)

// One parser for each kind of value, for files, variables and flags alike. Each error says which values are valid.

func number(least, most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("want a number from %d to %d, not %q", least, most, text)
		}
		return n, nil
	}
}

func parseBool(text string) (bool, error) {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("want true or false, not %q", text)
	}
	return b, nil
}

func oneOf(words ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(words, text) {
			return "", fmt.Errorf("want one of %s, not %q", strings.Join(words, ", "), text)
		}
		return text, nil
	}
}

// parseProgress takes the modes of package progress, and docker's "none" for quiet.
func parseProgress(text string) (string, error) {
	if text == "none" {
		text = "quiet"
	}
	return oneOf("auto", "plain", "tty", "rawjson", "quiet")(text)
}

func parseDuration(least, most time.Duration) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil || d < least || d > most {
			return 0, fmt.Errorf(`want a time from %s to %s, such as "30s", not %q`, least, most, text)
		}
		return d, nil
	}
}

// parseSize takes bytes: "8GiB" is 8·2³⁰, "8GB" is 8·10⁹. go-units reads either suffix both ways, by function.
func parseSize(text string) (int64, error) {
	parse := units.FromHumanSize
	if strings.Contains(strings.ToLower(text), "i") {
		parse = units.RAMInBytes
	}
	n, err := parse(text)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf(`want a size such as "8GiB", not %q`, text)
	}
	return n, nil
}

// ParseSize reads a size as stagex.toml takes it, or "0".
func ParseSize(text string) (int64, error) {
	if text == "0" {
		return 0, nil
	}
	return parseSize(text)
}

// parsePlatforms takes a list with commas, each in its one canonical spelling, because it is compared as text.
func parsePlatforms(text string) ([]string, error) {
	list := strings.Split(text, ",")
	for i, name := range list {
		p, err := platforms.Parse(name)
		if err != nil || p.OS != "linux" || name == "linux" {
			return nil, fmt.Errorf(`want platforms such as "linux/amd64", not %q`, name)
		}
		if canonical := platforms.Format(platforms.Normalize(p)); canonical != name {
			return nil, fmt.Errorf("the platform %q is spelled %q", name, canonical)
		}
		if slices.Contains(list[:i], name) {
			return nil, fmt.Errorf("the platform %q is named twice", name)
		}
	}
	return list, nil
}

// parseUserAgent takes what fits into one header line.
func parseUserAgent(text string) (string, error) {
	for _, r := range text {
		if r < ' ' || r > '~' {
			return "", fmt.Errorf("want plain ASCII text, not %q", text)
		}
	}
	if len(text) > 256 {
		return "", fmt.Errorf("want at most 256 characters, not %d", len(text))
	}
	return text, nil
}

// parsePath takes an absolute path, because a relative one would mean another place in every folder; "" is the default.
func parsePath(text string) (string, error) {
	if text != "" && !filepath.IsAbs(text) {
		return "", fmt.Errorf("want an absolute path, not %q", text)
	}
	if text != "" {
		text = filepath.Clean(text)
	}
	return text, nil
}

// parseWord takes what has no blanks in it.
func parseWord(text string) (string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", fmt.Errorf("want one word, not %q", text)
	}
	return text, nil
}

// noneOr takes "" for an empty list.
func noneOr(parse func(string) ([]string, error)) func(string) ([]string, error) {
	return func(text string) ([]string, error) {
		if text == "" {
			return nil, nil
		}
		return parse(text)
	}
}

// parseList takes texts with commas between them.
func parseList(parse func(string) error) func(string) ([]string, error) {
	return func(text string) ([]string, error) {
		var list []string
		for part := range strings.SplitSeq(text, ",") {
			part = strings.TrimSpace(part)
			if err := parse(part); err != nil {
				return nil, err
			}
			if slices.Contains(list, part) {
				return nil, fmt.Errorf("%q is named twice", part)
			}
			list = append(list, part)
		}
		return list, nil
	}
}

// parseHosts takes names of registries, each with a port where it is not 443.
func parseHosts(text string) ([]string, error) {
	return parseList(func(host string) error {
		_, err := preseed.ParseRegistry(host + "/x")
		if err != nil || strings.Contains(host, "/") {
			return fmt.Errorf(`want hosts such as "docker.io, registry.example:5000", not %q`, host)
		}
		return nil
	})(text)
}

// parseForeign takes hosts as references name them, because they are compared as text.
func parseForeign(text string) ([]string, error) {
	hosts, err := parseHosts(text)
	for _, host := range hosts {
		named, wrong := imageref.ParseNormalizedNamed(host + "/x/y")
		if wrong != nil {
			return nil, fmt.Errorf(`want hosts such as "docker.io, registry.example:5000", not %q`, host)
		}
		if domain := imageref.Domain(named); domain != host {
			return nil, fmt.Errorf("the host %q is spelled %q in a reference", host, domain)
		}
	}
	return hosts, err
}

func parseRegistries(text string) ([]string, error) {
	return parseList(func(name string) error {
		_, err := preseed.ParseRegistry(name)
		return err
	})(text)
}

func parseNamespace(text string) (string, error) {
	if _, err := preseed.ParseRegistry("docker.io/" + text); err != nil {
		return "", fmt.Errorf(`want a namespace such as "stagex", not %q`, text)
	}
	return text, nil
}

// parseSources takes a registry's repository that has sources, or "".
func parseSources(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if !strings.Contains(text, "://") {
		text = preseed.SourceScheme + "://" + text
	}
	_, err := preseed.ParseSources(text)
	return text, err
}

// parseHub takes a registry's repository that engines exchange images through, or "".
func parseHub(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	at, err := preseed.ParseHub(text)
	return preseed.HubScheme + at.String(), err
}

// parseSignatures takes where signatures are: an address or a folder.
func parseSignatures(text string) (string, error) {
	if strings.Contains(text, "://") {
		return strings.TrimSuffix(text, "/"), fetch.CheckDocumentURL(text)
	}
	return parsePath(text)
}
