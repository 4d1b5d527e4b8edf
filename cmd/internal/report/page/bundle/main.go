// Bundle makes ../dist from ../src with esbuild. It is a module of its own, so that
// neither sx nor its tests depend on esbuild.
//
//	go run . [-check]
//
// With -check it writes nothing, and fails if dist/ is not what it would write.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	for from, to := range map[string]string{"../src/main.js": "../dist/page.js", "../src/style.css": "../dist/page.css"} {
		if err := bundle(from, to, *check); err != nil {
			fmt.Fprintln(os.Stderr, "bundle:", err)
			os.Exit(1)
		}
	}
}

// bundle makes one file. The target is what browsers of 2023 understand.
func bundle(from, to string, check bool) error {
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{from}, Bundle: true, Charset: api.CharsetASCII, Format: api.FormatIIFE, Target: api.ES2022,
		MinifyWhitespace: true, MinifySyntax: true, MinifyIdentifiers: true, LegalComments: api.LegalCommentsNone, LogLevel: api.LogLevelWarning,
	})
	if len(result.Errors) > 0 || len(result.Warnings) > 0 {
		return fmt.Errorf("%s: %d errors, %d warnings", from, len(result.Errors), len(result.Warnings))
	}
	made := result.OutputFiles[0].Contents
	if !check {
		return os.WriteFile(to, made, 0o644)
	}
	if committed, err := os.ReadFile(to); err != nil || !bytes.Equal(made, committed) {
		return fmt.Errorf("%s is not made from %s as it is now: run scripts/bundle", to, from)
	}
	return nil
}
