package buildkit

import (
	"bufio"
	"fmt"
	"io"

	"github.com/ulikunitz/xz"
)

// XZName is the program name under which sx acts as `xz -d -c`, for engines on
// hosts without xz.
const XZName = "xz"

// XZMain decompresses stdin to stdout as BuildKit calls xz (`xz -d -c -q`) and
// returns the exit code. It ignores its arguments, because that call is the
// only one that reaches it.
func XZMain(stdin io.Reader, stdout, stderr io.Writer) int {
	r, err := xz.NewReader(bufio.NewReaderSize(stdin, 1<<20))
	if err == nil {
		_, err = io.Copy(stdout, r)
	}
	if err != nil {
		fmt.Fprintf(stderr, "xz: %v\n", err)
		return 1
	}
	return 0
}
