package oci

import (
	"fmt"
	"strings"
)

// Platform is "<os>/<architecture>" or "<os>/<architecture>/<variant>".
type Platform = string

// UnknownPlatform marks an attestation among the images of an index that BuildKit
// wrote.
const UnknownPlatform Platform = "unknown/unknown"

// ReadConfigPlatform returns the platform in an image config.
func ReadConfigPlatform(data []byte) (Platform, error) {
	var p PlatformFields
	if err := decodeConfig(data, &p); err != nil {
		return "", err
	}
	return p.Text()
}

// Text returns the fields as a Platform.
func (p PlatformFields) Text() (Platform, error) {
	parts := []string{p.OS, p.Architecture}
	if p.Variant != "" {
		parts = append(parts, p.Variant)
	}
	for _, part := range parts {
		if !isPlatformPart(part) {
			return "", fmt.Errorf("%q is not part of a platform", part)
		}
	}
	return strings.Join(parts, "/"), nil
}

// parsePlatform is the inverse of Text.
func parsePlatform(s Platform) (PlatformFields, error) {
	parts := append(strings.SplitN(s, "/", 3), "", "")
	p := PlatformFields{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
	_, err := p.Text()
	return p, err
}

func isPlatformPart(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '.' && r != '-'
	}) < 0
}

// SamePlatform compares platforms as BuildKit does: a variant that is the
// architecture's default may be left out (containerd/platforms, normalizeArch).
func SamePlatform(a, b Platform) bool { return withoutDefault(a) == withoutDefault(b) }

func withoutDefault(p Platform) Platform {
	for _, suffix := range []string{"amd64/v1", "arm64/v8", "arm/v7"} {
		if strings.HasSuffix(p, "/"+suffix) {
			return p[:strings.LastIndexByte(p, '/')]
		}
	}
	return p
}
