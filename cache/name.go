package cache

import (
	"fmt"
	"strings"
)

// checkOutput accepts what may be a folder's name under out/ and a word in
// digests/: a lower-case repository component, as the images' names are.
func checkOutput(output string) error {
	valid := len(output) > 0 && len(output) <= 200 && isAlphanumeric(output[0])
	for i := range len(output) {
		valid = valid && (isAlphanumeric(output[i]) || strings.IndexByte("._+-", output[i]) >= 0)
	}
	if !valid {
		return fmt.Errorf("naming output %.100q: want lower-case letters, digits and . _ + - after the first", output)
	}
	return nil
}

func isAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
