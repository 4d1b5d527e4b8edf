package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/buildkit/embedded"
)

// version is set by release builds: -ldflags "-X main.version=1.2.3".
var version = ""

// versionInfo is what `sx version --json` prints. It only gains fields.
type versionInfo struct {
	Version  string `json:"version"`
	Build    string `json:"build"` // identifies the build of sx
	BuildKit string `json:"buildkit"`
	Runc     string `json:"runc,omitempty"` // the one inside sx
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersionCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:         "version",
		Short:       "Print the version of sx and of the BuildKit in it",
		Long:        "sx --version prints the same line.",
		Example:     "  sx version --json | jq -r .buildkit",
		Annotations: codes(),
		Args:        noArguments,
		RunE: func(*cobra.Command, []string) error {
			return printVersion(a.stdout, asJSON)
		},
	}
	addJSONFlag(c, &asJSON, "the same, as fields")
	return c
}

var sxVersion = sync.OnceValue(func() versionInfo {
	v := versionInfo{
		Version: version, BuildKit: "unknown", Build: embedded.BuildID(), Runc: embedded.RuncInside(),
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/moby/buildkit" {
			v.BuildKit = m.Version
		}
	}
	return v
})

func printVersion(w io.Writer, asJSON bool) error {
	v := sxVersion()
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	inside := v.BuildKit
	if v.Runc != "" {
		inside += ", runc " + v.Runc
	}
	_, err := fmt.Fprintf(w, "sx %s (build %s, BuildKit %s, %s, %s)\n", v.Version, v.Build, inside, v.Go, v.Platform)
	return err
}
