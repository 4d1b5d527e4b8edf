package graph

import (
	"fmt"
	"net/url"
	"strings"
)

// maxFileName is what a folder of every usual filesystem can hold.
const maxFileName = 255

// lastSegment is the last segment of a URL's path, before anything is expanded.
//
// Source: upstream's src/fetch.py, urlsplit(mirror).path.split("/")[-1].
func lastSegment(mirror string) string {
	mirror, _, _ = strings.Cut(mirror, "#")
	mirror, _, _ = strings.Cut(mirror, "?")
	_, rest, ok := strings.Cut(mirror, "://")
	if !ok {
		rest = mirror
	}
	_, path, _ := strings.Cut(rest, "/")
	return path[strings.LastIndex(path, "/")+1:]
}

// checkFile says why name cannot be a file of the fetch folder.
func checkFile(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the file's name is empty")
	case strings.ContainsAny(name, `/\`):
		return fmt.Errorf("file %q: a name, not a path", name)
	case name[0] == '.':
		return fmt.Errorf("file %q: begins with a dot, so upstream would not show it to the build", name)
	case len(name) > maxFileName:
		return fmt.Errorf("file %q: longer than %d bytes", name, maxFileName)
	case !plainText(name):
		return fmt.Errorf("file %q: holds a space or a character that cannot be printed", name)
	}
	return nil
}

// expandMirror returns a URL with http or https, and a host.
func expandMirror(template string, values map[string]string) (string, error) {
	mirror, err := expand(template, values)
	if err != nil {
		return "", err
	}
	if !plainText(mirror) {
		return "", fmt.Errorf("mirror %q: holds a space or a character that cannot be printed", mirror)
	}
	u, err := url.Parse(mirror)
	switch {
	case err != nil:
		return "", fmt.Errorf("mirror %q: not a URL", mirror)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("mirror %q: want http:// or https://", mirror)
	case u.Hostname() == "":
		return "", fmt.Errorf("mirror %q: has no host", mirror)
	}
	return mirror, nil
}

// plainText is ASCII that can be seen.
func plainText(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
