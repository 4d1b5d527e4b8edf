package embedded

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"github.com/mikelolasagasti/xz"
)

// xzName is the program name under which sx acts as `xz -d -c` for its engine.
const xzName = "xz"

// Program acts as a program that the engine starts if sx was called by the name of one,
// args[0], and returns its exit code. Else ok is false.
func Program(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int, ok bool) {
	name := filepath.Base(args[0])
	if name == xzName {
		return xzMain(stdin, stdout, stderr), true
	}
	if main := varying(name); main != nil {
		return main(args[1:], stdin, stderr), true
	}
	return 0, false
}

// xzMain decompresses stdin to stdout as BuildKit calls xz (`xz -d -c -q`) and
// returns the exit code. It ignores its arguments, because that call is the
// only one that reaches it. Like xz it takes a dictionary of any size: memory is
// used only as far as the archive fills it.
func xzMain(stdin io.Reader, stdout, stderr io.Writer) int {
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
