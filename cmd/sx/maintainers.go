package main

import (
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// maintainers are the names that a tree's MAINTAINERS has for key IDs and fingerprints, which are upper-case hexadecimal.
// They are claims of the tree, and decide nothing.
type maintainers map[string]string

// maxMaintainers bounds the file, which is one of a tree that is not trusted; upstream's has 3 KB.
const maxMaintainers = 64 << 10

// maintainers reads the file of the tree that sx is called in; what cannot be read claims nothing.
func (a *app) maintainers() maintainers {
	dir, err := a.treeDir()
	if err != nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	info, err := root.Lstat("MAINTAINERS")
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxMaintainers {
		return nil
	}
	f, err := root.Open("MAINTAINERS")
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMaintainers))
	if err != nil {
		return nil
	}
	return parseMaintainers(string(data))
}

// parseMaintainers takes the end of each keyoxide address that is a fingerprint or a key ID.
func parseMaintainers(data string) maintainers {
	var file struct {
		People map[string]struct {
			Name     string `toml:"name"`
			Keyoxide string `toml:"keyoxide"`
		} `toml:"people"`
	}
	if _, err := toml.Decode(data, &file); err != nil {
		return nil
	}
	m := maintainers{}
	for _, key := range slices.Sorted(maps.Keys(file.People)) {
		p := file.People[key]
		id := strings.ToUpper(p.Keyoxide[strings.LastIndexByte(p.Keyoxide, '/')+1:])
		if (len(id) == 16 || len(id) == 40) && strings.Trim(id, "0123456789ABCDEF") == "" && p.Name != "" {
			m[id] = p.Name
		}
	}
	return m
}

// of returns the name for a fingerprint, "" if there is none. A key ID is the end of a fingerprint of 40 digits.
func (m maintainers) of(fingerprint string) string {
	if name, ok := m[fingerprint]; ok || len(fingerprint) != 40 {
		return name
	}
	return m[fingerprint[24:]]
}
