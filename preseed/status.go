package preseed

import "codeberg.org/stagex/sx/fetch/transfer"

// How an image was had, as Status.Done says it.
const (
	Present = "present" // it was there, whole
	Linked  = "linked"  // all its blobs were in out/ already
	Fetched = "preseeded"
	Kept    = "kept" // something else is there that was built here
)

// Status is told what Run does. The items are outputs, the places registries.
type Status = transfer.Status[string]
