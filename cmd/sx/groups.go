package main

import "github.com/spf13/cobra"

// commandGroup is a heading of sx --help and the commands below it.
type commandGroup struct {
	title    string
	commands []*cobra.Command
}

// commandGroups returns all commands of sx. Help lists the groups in this order, and the
// commands of each by name.
func commandGroups(a *app) []commandGroup {
	return []commandGroup{
		{"Build", []*cobra.Command{
			newBuildCommand(a), newFetchCommand(a), newPreseedCommand(a), newLogCommand(a),
			newExplainCommand(a), newShellCommand(a), newReportCommand(a), newHistoryCommand(a),
		}},
		{"Prove", []*cobra.Command{
			newVerifyCommand(a), newDigestsCommand(a), newDiffCommand(a), newReproduceCommand(a),
			newReceiptCommand(a), newSignCommand(a), newKeysCommand(a), newSBOMCommand(a), newPinsCommand(a),
		}},
		{"Look", []*cobra.Command{
			newListCommand(a), newDepsCommand(a), newRdepsCommand(a), newWhyCommand(a), newGraphCommand(a),
			newImpactCommand(a), newLsCommand(a), newCatCommand(a), newOwnsCommand(a), newUnpackCommand(a),
		}},
		{"Write definitions", []*cobra.Command{
			newNewCommand(a), newUpdateCommand(a), newHashCommand(a), newLintCommand(a), newSchemaCommand(a),
		}},
		{"Publish", []*cobra.Command{newImportCommand(a), newPushCommand(a), newReleaseCommand(a)}},
		{"This machine", []*cobra.Command{
			newDoctorCommand(a), newEngineCommand(a), newDuCommand(a), newGCCommand(a), newManCommand(a), newVersionCommand(a),
		}},
	}
}

// addCommands adds all commands to sx.
func addCommands(root *cobra.Command, a *app) {
	for _, g := range commandGroups(a) {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.title
			root.AddCommand(c)
		}
	}
}
