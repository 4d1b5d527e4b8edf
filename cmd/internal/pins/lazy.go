package pins

import (
	"regexp"
	"sync"
)

// lazy returns a function that compiles a pattern with its first call. Every command
// links this package, and few use it: compiling its patterns took a fortieth of a build
// with nothing to do.
func lazy(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
