package main

import "github.com/spf13/pflag"

// verifyOptions are the flags of sx verify.
type verifyOptions struct {
	all        bool // the whole tree is selected, and so all that digests/ should list
	json       bool
	signed     bool
	signatures signatureOptions
	policy     string
	require    []string
	against    againstFlag
	panel      *panel   // who judges
	witness    *witness // checks signatures; nil: they are not checked
}

func (o *verifyOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.signed, "signatures", false, "say who signed each digest")
	o.signatures.addFlags(f)
	f.StringVar(&o.policy, "write-policy", "", "write a policy for podman and skopeo into `DIR`, and do nothing else")
	o.against.addFlag(f)
	f.StringSliceVar(&o.require, "require", nil, "with --write-policy: each `PERSON` of these must have signed")
}

func (o verifyOptions) check(args []string) error {
	images := 0
	for _, arg := range args {
		if isImageRef(arg) {
			images++
		}
	}
	switch {
	case o.policy != "" && (len(args) > 0 || o.signed):
		return usagef("--write-policy goes alone, with --require and --signatures-from")
	case len(o.require) > 0 && o.policy == "":
		return usagef("--require goes with --write-policy")
	case o.signatures.from != "" && !o.signed && o.policy == "":
		return usagef("--signatures-from goes with --signatures or --write-policy")
	case o.policy != "" && o.json:
		return usagef("--write-policy prints nothing: it does not go with --json")
	case len(o.against) > 0 && (o.policy != "" || images > 0):
		return usagef("--against is about outputs of a tree")
	case images > 0 && images < len(args):
		return usagef("outputs of a tree and images by digest do not go together")
	case images > 0 && !o.signed:
		return usagef("of an image by its digest only signatures can be looked at: add --signatures")
	}
	return nil
}
