package main

import (
	"slices"

	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/schema"
)

func newSchemaCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "schema FILE",
		Short: "Print the JSON Schema of package.toml or stagex.toml",
		Long: `Prints the JSON Schema (draft 7) of package.toml or stagex.toml. Editors that use taplo, such
as VS Code with Even Better TOML, complete keys with it, show their meaning and mark errors;
docs/write.md has the setup. sx lint checks more than a schema can.`,
		Example: `  sx schema package.toml > ~/.config/sx/package.schema.json
  taplo lint --schema "file://$HOME/.config/sx/package.schema.json" packages/*/*/package.toml`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return slices.Clone(schema.Files), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want package.toml or stagex.toml; see sx schema --help")
			}
			s, err := schema.Of(args[0])
			if err != nil {
				return usageError{err}
			}
			return printJSON(a.stdout, s)
		},
	}
}
