package driver

import (
	"codeberg.org/stagex/sx/cmd/internal/plan"
	"codeberg.org/stagex/sx/cmd/internal/tree"
)

// hold reads the definitions of a plan that will run, so that an edit while it
// runs changes neither what is built nor what is judged.
func hold(t *tree.Tree, p *plan.Plan) error {
	for _, s := range p.Steps {
		if _, err := t.Snapshot(s.Output.Definition); err != nil {
			return err
		}
	}
	return nil
}
