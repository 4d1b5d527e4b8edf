package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/buildkit"
)

// An engine with variations calls sx in the place of runc, by the name varyName. It
// changes the container's specification, which BuildKit has written, and becomes runc.
// The affinity cannot be inherited, because runc resets it: a hook sets it once the
// container has its first process, which then becomes the RUN.

// The program names under which sx acts for an engine that varies what a RUN sees.
const (
	varyName = "sx-vary-runc" // in the place of runc
	pinName  = "sx-vary-pin"  // runc's hook
)

// varying returns what sx does by one of these names, nil for another name: a function of
// its arguments, stdin and stderr that returns the exit code.
func varying(name string) func([]string, io.Reader, io.Writer) int {
	switch name {
	case varyName:
		return varyMain
	case pinName:
		return pinMain
	}
	return nil
}

// variedFile holds the engine's variations, for varyMain.
const variedFile = binDir + "/varied"

// pinTime is how long runc waits for the hook, in seconds.
const pinTime = 20

// runcName returns the program in the engine's PATH that runs its containers.
func runcName(vary []buildkit.Variation) string {
	if len(vary) == 0 {
		return "runc"
	}
	return varyName
}

// hostname returns the host name of every RUN, "" for BuildKit's.
func hostname(vary []buildkit.Variation) string {
	if slices.Contains(vary, buildkit.VaryHostname) {
		return buildkit.VariedHostname
	}
	return ""
}

// makeVaried puts varyName and its variations into the engine's PATH.
func makeVaried(vary []buildkit.Variation) error {
	if len(vary) == 0 {
		return nil
	}
	data, err := json.Marshal(vary)
	if err != nil {
		return err
	}
	if err := os.WriteFile(variedFile, data, 0o600); err != nil {
		return err
	}
	return os.Symlink("/proc/self/exe", filepath.Join(binDir, varyName))
}

// varyMain changes the specification of the container that args, those of runc, are to
// run, and becomes runc. It returns an exit code only if that fails.
func varyMain(args []string, _ io.Reader, stderr io.Writer) int {
	runtime.LockOSThread() // a thread has the personality, and becomes runc
	err := vary(args)
	if err == nil {
		runc := filepath.Join(binDir, "runc")
		err = syscall.Exec(runc, append([]string{runc}, args...), os.Environ())
	}
	fmt.Fprintf(stderr, "sx: varying a RUN: %v\n", err)
	return 1
}

func vary(args []string) error {
	for _, other := range []string{"create", "exec", "restore"} {
		if slices.Contains(args, other) {
			return fmt.Errorf("BuildKit starts a RUN by runc %s, which sx cannot vary", other)
		}
	}
	if !slices.Contains(args, "run") {
		return nil // it starts no container
	}
	at := slices.Index(args, "--bundle")
	if at < 0 || at+1 == len(args) {
		return fmt.Errorf("BuildKit starts a RUN without --bundle (%q), which sx cannot vary", args)
	}
	data, err := os.ReadFile(variedFile)
	if err != nil {
		return err
	}
	var all []buildkit.Variation
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	if err := varySpec(filepath.Join(args[at+1], "config.json"), all); err != nil {
		return err
	}
	if slices.Contains(all, buildkit.VaryKernel) {
		return personality(uname26)
	}
	return nil
}

// uname26 makes uname(2) give a release that begins with 2.6 (linux/personality.h).
const uname26 = 0x0020000

func personality(flags uintptr) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, flags, 0, 0); errno != 0 {
		return fmt.Errorf("setting the personality: %w", errno)
	}
	return nil
}

// varySpec changes the specification in the file at path.
func varySpec(path string, all []buildkit.Variation) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		return fmt.Errorf("reading %q: %w", path, err)
	}
	for _, v := range all {
		switch v {
		case buildkit.VaryUmask:
			umask := uint32(buildkit.VariedUmask)
			spec.Process.User.Umask = &umask
		case buildkit.VaryCPUs:
			if err := pinLater(&spec); err != nil {
				return err
			}
		}
	}
	if data, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// pinLater adds the hook that leaves a container one of this process's processors, the last.
func pinLater(spec *specs.Spec) error {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	cpu := -1
	for i := range len(all) * strconv.IntSize {
		if all.IsSet(i) {
			cpu = i
		}
	}
	if spec.Hooks == nil {
		spec.Hooks = &specs.Hooks{}
	}
	limit := pinTime
	// Process 1 here is the engine, which is this same sx.
	spec.Hooks.CreateRuntime = append(spec.Hooks.CreateRuntime,
		specs.Hook{Path: "/proc/1/exe", Args: []string{pinName, strconv.Itoa(cpu)}, Timeout: &limit})
	return nil
}

// pinMain leaves the container whose state it reads from stdin the processor that args
// name, and returns the exit code.
func pinMain(args []string, stdin io.Reader, stderr io.Writer) int {
	if err := pin(args, stdin); err != nil {
		fmt.Fprintf(stderr, "sx: leaving a RUN one processor: %v\n", err)
		return 1
	}
	return 0
}

func pin(args []string, stdin io.Reader) error {
	var state specs.State
	if err := json.NewDecoder(io.LimitReader(stdin, 1<<20)).Decode(&state); err != nil {
		return err
	}
	cpu, err := strconv.Atoi(strings.Join(args, ""))
	if err != nil || cpu < 0 || state.Pid <= 1 {
		return errors.New("no processor or no process is named")
	}
	var one unix.CPUSet
	one.Set(cpu)
	return unix.SchedSetaffinity(state.Pid, &one)
}
