package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cmd/internal/load"
	"codeberg.org/stagex/sx/cmd/internal/panel"
	"codeberg.org/stagex/sx/cmd/internal/pins"
	"codeberg.org/stagex/sx/cmd/internal/progress"
	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/preseed"
)

// A flag of several commands is defined here, so that it means the same in each.

// scope is what a command works on: its selectors, or the whole tree (with --all, or
// without selectors if the command allows that).
type scope struct {
	all      bool
	required bool // neither selectors nor --all is an error
}

func (s *scope) addFlag(c *cobra.Command) {
	usage := "the whole tree, which is the default"
	if s.required {
		usage = "the whole tree"
	}
	c.Flags().BoolVar(&s.all, "all", false, usage)
}

func (s *scope) check(c *cobra.Command, selectors []string) error {
	switch {
	case s.all && len(selectors) > 0:
		return usagef("--all and selectors exclude each other")
	case s.required && !s.all && len(selectors) == 0:
		return usagef("nothing is selected: name outputs (%s core-curl) or use --all", c.CommandPath())
	}
	return nil
}

// exclusive refuses more than one of the named flags.
func exclusive(c *cobra.Command, names ...string) error {
	given := slices.DeleteFunc(names, func(name string) bool { return !c.Flags().Changed(name) })
	if len(given) > 1 {
		return usagef("--%s and --%s exclude each other", given[0], given[1])
	}
	return nil
}

func addDryRunFlag(c *cobra.Command, dryRun *bool) {
	c.Flags().BoolVarP(dryRun, "dry-run", "n", false, "print what would be done, without doing it")
}

// preview holds --dry-run and the --json that depends on it.
type preview struct{ dryRun, json bool }

func (p *preview) addFlags(c *cobra.Command, what string) {
	addDryRunFlag(c, &p.dryRun)
	addJSONFlag(c, &p.json, "with --dry-run, "+what)
}

func (p preview) check() error {
	if p.json && !p.dryRun {
		return usagef("--json goes with --dry-run")
	}
	return nil
}

func addJSONFlag(c *cobra.Command, json *bool, what string) {
	c.Flags().BoolVar(json, "json", false, "print JSON: "+what)
}

// addProgressFlag adds --progress, which is the setting build.progress, and -q.
func addProgressFlag(c *cobra.Command) {
	f := c.Flags()
	f.String("progress", "auto", "how to show progress, `MODE`: "+progress.Modes())
	f.VarPF(quietFlag{f}, "quiet", "q", "--progress quiet").NoOptDefVal = "true"
	c.RegisterFlagCompletionFunc("progress", cobra.FixedCompletions(strings.Split(progress.Modes(), ", "), cobra.ShellCompDirectiveNoFileComp))
}

// addTraceFlag adds --trace.
func addTraceFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "trace", "", "also write a trace of the run to `FILE`, for chrome://tracing and Perfetto")
}

// quietFlag is -q, which sets --progress quiet. The later of both flags wins.
type quietFlag struct{ of *pflag.FlagSet }

func (quietFlag) String() string { return "false" }
func (quietFlag) Type() string   { return "bool" }

func (q quietFlag) Set(text string) error {
	if on, err := strconv.ParseBool(text); err != nil || !on {
		return err
	}
	return q.of.Set("progress", string(progress.Quiet))
}

func addPlatformFlag(c *cobra.Command, usage string) {
	c.Flags().String("platform", "linux/amd64", usage)
}

// anyTool lets sx choose between docker and podman.
const anyTool = "auto"

// toolFlag is the value of --into and --import: a name in load.Tools, or auto.
type toolFlag string

var tools = append([]string{anyTool}, load.Tools...)

func (t *toolFlag) String() string { return string(*t) }
func (t *toolFlag) Type() string   { return "TOOL" }

func (t *toolFlag) Set(text string) error {
	if !slices.Contains(tools, text) {
		return fmt.Errorf("want %s or %s, not %q", strings.Join(tools[:len(tools)-1], ", "), tools[len(tools)-1], text)
	}
	*t = toolFlag(text)
	return nil
}

// name returns the tool's name in package load: "" for any.
func (t toolFlag) name() string {
	if t == anyTool {
		return ""
	}
	return string(t)
}

func addToolFlag(c *cobra.Command, t *toolFlag, name, usage string) {
	c.Flags().Var(t, name, usage)
	c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(tools, cobra.ShellCompDirectiveNoFileComp))
}

// joinTools rewrites "--import podman" to "--import=podman". pflag does not take the
// value of a flag with an optional value from the next argument, but --import should
// accept the same form as --into.
func joinTools(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(out, args[i:]...)
		}
		next := args[min(i+1, len(args)-1)]
		if arg == "--import" && slices.Contains(tools, next) || arg == "--update" && pins.IsRelease(next) {
			i++
			arg += "=" + args[i]
		}
		out = append(out, arg)
	}
	return out
}

// registryFlag is a registry and a namespace, with or without oci:// before it.
type registryFlag struct{ preseed.Registry }

func (r *registryFlag) String() string {
	if !r.given() {
		return ""
	}
	return r.Registry.String()
}

func (r *registryFlag) Type() string { return "REGISTRY/NAMESPACE" }
func (r *registryFlag) given() bool  { return r.Registry != preseed.Registry{} }

func (r *registryFlag) Set(text string) (err error) {
	r.Registry, err = preseed.ParseRegistry(strings.TrimPrefix(text, preseed.SourceScheme+"://"))
	return err
}

// sourcesFlag is a repository of sources, with or without oci:// before it.
type sourcesFlag string

func (s *sourcesFlag) String() string { return string(*s) }
func (s *sourcesFlag) Type() string   { return "REGISTRY/REPOSITORY" }

func (s *sourcesFlag) Set(text string) error {
	if !strings.Contains(text, "://") {
		text = preseed.SourceScheme + "://" + text
	}
	_, err := preseed.ParseSources(text)
	*s = sourcesFlag(text)
	return err
}

// flagError names the flag and the value that it wants.
func flagError(c *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &invalid):
		err = fmt.Errorf("%s: %w", flagName(invalid.GetFlag()), wanted(invalid))
	case errors.As(err, &missing):
		metavar, _ := pflag.UnquoteUsage(missing.GetFlag())
		err = fmt.Errorf("%s: want %s, got nothing", flagName(missing.GetFlag()), metavar)
	}
	return usagef("%w; see %s --help", err, c.CommandPath())
}

func wanted(invalid *pflag.InvalidValueError) error {
	if invalid.GetFlag().Value.Type() == "bool" {
		return fmt.Errorf("want true or false, not %q", invalid.GetValue())
	}
	return invalid.Unwrap()
}

// flagName returns a flag as "-j, --jobs".
func flagName(f *pflag.Flag) string {
	if f.Shorthand == "" {
		return "--" + f.Name
	}
	return "-" + f.Shorthand + ", --" + f.Name
}

// settingOfFlag maps flags to the settings that they override.
var settingOfFlag = map[string]string{
	"disk-floor": "build.disk_floor", "from": "fetch.from", "jobs": "build.jobs", "memory": "build.memory",
	"keep-going": "build.keep_going", "platform": "build.platform", "progress": "build.progress",
	"engine": "engine.address", "tlscacert": "engine.tlscacert", "tlscert": "engine.tlscert", "tlskey": "engine.tlskey",
	"tlsservername": "engine.tlsservername", "tlsdir": "engine.tlsdir", "hub": "engine.hub", "results": "engine.results",
}

// changedFlags returns the settings that the command line overrides.
func changedFlags(c *cobra.Command) map[string]string {
	flags := map[string]string{}
	c.Flags().Visit(func(f *pflag.Flag) {
		if key := settingOfFlag[f.Name]; key != "" {
			flags[key] = f.Value.String()
		}
	})
	return flags
}

// flagNames maps settings to the flags that override them, as "-j, --jobs".
func flagNames() map[string]string {
	short := map[string]string{"jobs": "-j, ", "keep-going": "-k, "}
	names := map[string]string{}
	for name, key := range settingOfFlag {
		names[key] = short[name] + "--" + name
	}
	return names
}

// againstFlag names sources of published digests that take the place of the tree's.
type againstFlag []string

func (f *againstFlag) addFlag(set *pflag.FlagSet) {
	set.StringArrayVar((*[]string)(f), "against", nil, "published digests of a `SOURCE` instead of the tree's: a branch or tag, an https URL of a <stage>.txt, a folder (./x, /x); may be repeated")
}

// panel returns the judges for these sources, or the tree's own. The caller closes it.
func (f againstFlag) panel(ctx context.Context, t *tree.Tree, set settings.Settings) (*panel.Panel, error) {
	p, err := panel.New(ctx, t, userAgent(set), f)
	if err != nil {
		return nil, fmt.Errorf("--against %w", err)
	}
	return p, nil
}
