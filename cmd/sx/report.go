package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cache/disk"
	"codeberg.org/stagex/sx/cmd/internal/report"
	"codeberg.org/stagex/sx/cmd/internal/report/live"
	keptruns "codeberg.org/stagex/sx/cmd/internal/report/runs"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// anyPort lets the system choose the port of --serve.
const anyPort = "127.0.0.1:0"

type reportOptions struct {
	open  bool
	file  string
	serve string // address; "" without --serve
}

func newReportCommand(a *app) *cobra.Command {
	var o reportOptions
	c := &cobra.Command{
		Use:   "report [RUN [RUN]]",
		Short: "Write a page that shows a run",
		Long: `Writes a page about a run, the last one by default, and prints its name: the first
failure and the slowest output, verdicts with their evidence, failures with the end of
their logs, when each output was built and what it waited for, downloads, and the graph
to explore. Two runs are shown side by side. sx history lists the runs.

The page is one file without references to others: it can be mailed, and opened years
later. It has names, logs and digests of the tree, and the command line.

--serve shows the page of the newest run while it goes on, at an address with a secret
that it prints. It listens on this machine only; from elsewhere, use ssh -L.`,
		Example: `  sx report --open
  sx report -o night.html
  sx report 20261129 20261130     # two runs side by side
  sx report --serve --open`,
		ValidArgsFunction: a.completeRuns(2),
		RunE: func(c *cobra.Command, args []string) error {
			args, err := o.check(args)
			if err != nil {
				return err
			}
			return runReport(c.Context(), a, args, o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.open, "open", false, "also open the page in the browser")
	f.StringVarP(&o.file, "output", "o", "", "write to `FILE`, \"-\" is stdout (default: .sx/report.html)")
	f.StringVar(&o.serve, "serve", "", "show the newest run while it goes on, at `ADDRESS` (default "+anyPort+": any port)")
	f.Lookup("serve").NoOptDefVal = anyPort
	return c
}

// check returns the runs. The address after "--serve" may stand apart.
func (o *reportOptions) check(args []string) ([]string, error) {
	if o.serve == anyPort && len(args) == 1 {
		if host, _, err := net.SplitHostPort(args[0]); err == nil && host != "" {
			o.serve, args = args[0], nil
		}
	}
	switch {
	case len(args) > 2:
		return nil, usagef("name one run, or two to compare: sx report RUN RUN")
	case o.serve != "" && (len(args) > 0 || o.file != ""):
		return nil, usagef("--serve shows the newest run, so it cannot be combined with a RUN or --output")
	case o.open && o.file == "-":
		return nil, usagef("--open needs a file, and --output - writes none")
	}
	return args, nil
}

func runReport(ctx context.Context, a *app, args []string, o reportOptions) error {
	state, err := stateDir(a)
	if err != nil {
		return err
	}
	if o.serve != "" {
		return a.serveReport(ctx, state, o)
	}
	if len(args) == 0 {
		args = []string{"last"}
	}
	var shown []*report.Run
	for _, word := range args {
		r, err := readRun(state, word)
		if err != nil {
			return ownRuns(err)
		}
		shown = append(shown, r)
	}
	if len(shown) == 1 {
		if err := new(earlierRuns).addTo(ctx, state, shown[0]); err != nil {
			return err
		}
	}
	var doc bytes.Buffer
	if err := report.WritePage(&doc, shown...); err != nil {
		return err
	}
	if o.file == "-" {
		_, err := a.stdout.Write(doc.Bytes())
		return err
	}
	path := filepath.Join(state, "report.html")
	if o.file != "" {
		path = o.file
	}
	if err := disk.WriteNamed(path, doc.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	fmt.Fprintln(a.stdout, text.Field(path))
	if o.open {
		return openInBrowser(ctx, path)
	}
	return nil
}

// readRun returns the model of the run that word names.
func readRun(state, word string) (*report.Run, error) {
	id, err := keptruns.Find(state, word)
	if errors.As(err, new(*keptruns.Missing)) {
		return nil, usageError{err}
	}
	if err != nil {
		return nil, err
	}
	kept, err := keptruns.Read(state, id)
	if err != nil {
		return nil, err
	}
	return report.Of(kept, time.Now()), nil
}

// earlierRuns are the runs that were read: those that ended stay as they are. It is safe
// for concurrent use.
type earlierRuns struct {
	mu   sync.Mutex
	read map[string]*report.Run // by id
}

// addTo adds what the runs before r tell about its outputs. Runs that cannot be read tell
// nothing.
func (e *earlierRuns) addTo(ctx context.Context, state string, r *report.Run) error {
	ids, err := keptruns.List(state)
	if err != nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	read := map[string]*report.Run{}
	var all []*report.Run
	for _, id := range ids {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if id >= r.ID {
			continue
		}
		if read[id] = e.read[id]; read[id] == nil {
			kept, err := keptruns.Read(state, id)
			if err != nil {
				delete(read, id)
				continue
			}
			read[id] = report.Of(kept, r.Began)
		}
		all = append(all, read[id])
	}
	e.read = read
	r.AddHistory(all)
	return nil
}

// openTime is how long to wait for the program that opens a page to fail. One that goes on
// is the browser itself, and is left alone.
const openTime = 5 * time.Second

// openInBrowser opens a file with the program that the desktop has for it.
func openInBrowser(ctx context.Context, path string) error {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("opening the page: this machine has no %s; open %s in a browser", program, text.Field(full))
	}
	c := exec.Command(program, full) // without pipes: a browser that goes on would hold them
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return fmt.Errorf("opening the page: %w; open %s in a browser", err, text.Field(full))
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("opening the page: %s: %w; open %s in a browser", program, err, text.Field(full))
		}
	case <-time.After(openTime):
	case <-ctx.Done():
	}
	return nil
}

// serveReport serves the newest run until a Ctrl-C.
func (a *app) serveReport(ctx context.Context, state string, o reportOptions) error {
	earlier := earlierRuns{}
	server, err := live.Listen(o.serve, func(ctx context.Context) ([]byte, error) { return earlier.liveData(ctx, state) },
		func() (string, error) { return keptruns.Newest(state) })
	if err != nil {
		return usageError{err}
	}
	defer server.Close()
	fmt.Fprintln(a.stdout, server.URL())
	fmt.Fprintln(a.stderr, "sx: showing the newest run in "+text.Field(state)+"; Ctrl-C ends it")
	if o.open {
		path, err := server.WriteRedirect(state)
		if err != nil {
			return err
		}
		go func() { // the page is served meanwhile
			if err := openInBrowser(ctx, path); err != nil {
				a.warnOf(err)
			}
		}()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer onFirst(drainOf(ctx), stop)()
	return server.Serve(ctx)
}

// liveData is the newest run as the page takes it.
func (e *earlierRuns) liveData(ctx context.Context, state string) ([]byte, error) {
	r, err := readRun(state, "last")
	if errors.As(err, new(*keptruns.Missing)) {
		return report.Data(true)
	}
	if err != nil {
		return nil, err
	}
	if err := e.addTo(ctx, state, r); err != nil {
		return nil, err
	}
	return report.Data(true, r)
}
