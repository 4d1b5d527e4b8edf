package fetch

import "codeberg.org/stagex/sx/fetch/transfer"

// How a source was had, as Status.Done says it.
const (
	Present = "present" // lay there, verified
	Fetched = "fetched"
	Linked  = "linked" // from another path with the same hash
)

// Status is told what Run does. A failure with mirror "" is a Failure, or what is
// missing offline.
type Status = transfer.Status[Source]

type progress = transfer.Progress[Source]
