package main

import (
	"github.com/spf13/cobra"

	"codeberg.org/stagex/sx/cmd/internal/driver"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/preseed"
)

// addHubFlags adds --hub and --results; both are settings too.
func addHubFlags(c *cobra.Command) {
	f := c.Flags()
	f.String("hub", "", "engines elsewhere exchange images through `HUB`, a repository of a registry: oci://HOST/REPOSITORY")
	f.String("results", "", "with --hub, `WHICH` images to bring to out/: targets, all or none (default targets)")
	group(f, groupEngine, "hub", "results")
}

// hub returns the hub of the settings, nil if there is none. The caller closes it.
func (s *session) hub(talk talker) (*driver.Hub, error) {
	if s.set.Engine.Hub == "" {
		return nil, nil
	}
	at, err := preseed.ParseHub(s.set.Engine.Hub) // settings checked it
	if err != nil {
		return nil, err
	}
	opts := preseedSettings(s.set)
	opts.Store, opts.Log, opts.Status = s.tree.Store, s.logger(), hubTalk{talk: talk}
	h, err := preseed.NewHub(at, opts)
	if err != nil {
		return nil, err
	}
	return &driver.Hub{Hub: h, Results: driver.Results(s.set.Engine.Results)}, nil
}

// hubTalk is a status that passes warnings on, and shows no progress.
type hubTalk struct {
	transfer.Silent[string]
	talk talker
}

func (t hubTalk) Warn(text string) { t.talk.Warn(text) }

func closeHub(h *driver.Hub) {
	if h != nil {
		h.Close()
	}
}
