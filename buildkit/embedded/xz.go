package embedded

import (
	"bufio"
	"fmt"
	"io"
	"math"

	"github.com/mikelolasagasti/xz"
)

// XZName is the program name under which sx acts as `xz -d -c` for its engine.
const XZName = "xz"

// XZMain decompresses stdin to stdout as BuildKit calls xz (`xz -d -c -q`) and
// returns the exit code. It ignores its arguments, because that call is the
// only one that reaches it. Like xz it takes a dictionary of any size: memory is
// used only as far as the archive fills it.
func XZMain(stdin io.Reader, stdout, stderr io.Writer) int {
	r, err := xz.NewReader(bufio.NewReaderSize(stdin, 1<<20), math.MaxUint32)
	if err == nil {
		_, err = io.CopyBuffer(stdout, struct{ io.Reader }{r}, make([]byte, 1<<20))
	}
	if err != nil {
		fmt.Fprintf(stderr, "xz: %v\n", err)
		return 1
	}
	return 0
}
