package buildkit

// Need is one thing that an engine needs of this machine.
type Need struct {
	Name  string // a word or two
	Found string // what there is, in words
	Err   error  // an *UnfitError, or why it is unknown; nil if nothing is missing
}
