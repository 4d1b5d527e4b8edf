package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// Programs compiles the programs that the tests run, once, into one folder. Its sx
// is compiled without cgo, as for users; the race detector would make BuildKit's
// code ten times slower.
type Programs struct {
	Dir   string
	stock *sync.Map // name of a stock program -> what compiles it once
}

// NewPrograms returns the programs in dir, which are not compiled yet.
func NewPrograms(dir string) Programs { return Programs{dir, new(sync.Map)} }

func (p Programs) path(name string) string { return filepath.Join(p.Dir, name) }

// Sx returns the path of sx.
func (p Programs) Sx() string { return p.path("sx") }

// OtherSx returns the path of an sx with another build id.
func (p Programs) OtherSx() string { return p.path("other-sx") }

// Tool returns the path of testdata/tool, a static program for linux/amd64.
func (p Programs) Tool() string { return p.path("tool") }

// Build compiles all programs except the stock ones.
func (p Programs) Build() error {
	for _, args := range [][]string{
		{p.Sx(), "codeberg.org/stagex/sx/cmd/sx"},
		{p.OtherSx(), "-ldflags=-X=main.version=other", "codeberg.org/stagex/sx/cmd/sx"},
		{p.Tool(), "-ldflags=-s -w", "codeberg.org/stagex/sx/buildkit/enginetest/testdata/tool"},
	} {
		if err := compile("", args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// BuildStock compiles buildkitd and buildctl of the version that is linked into sx,
// from the released module: with the dependencies in its own go.mod and go.sum, not
// with ours.
func (p Programs) BuildStock(names ...string) error {
	dir, err := goOutput("", "list", "-m", "-f", "{{.Dir}}", "github.com/moby/buildkit")
	if err != nil {
		return err
	}
	for _, name := range names {
		once, _ := p.stock.LoadOrStore(name, sync.OnceValue(func() error {
			return compile(dir, p.path(name), "-mod=readonly", "-ldflags=-s -w", "./cmd/"+name)
		}))
		if err := once.(func() error)(); err != nil {
			return err
		}
	}
	return nil
}

// compile runs go build in dir.
func compile(dir, output string, args ...string) error {
	_, err := goOutput(dir, append([]string{"build", "-o", output}, args...)...)
	return err
}

func goOutput(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("running go %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}
