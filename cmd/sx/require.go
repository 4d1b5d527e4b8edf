package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/signers"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/graph"
)

// requireOptions are the flags of commands that can require signatures of published
// images.
type requireOptions struct {
	required   bool
	signatures signatureOptions
}

func (o *requireOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.required, "require-signatures", false, "use no published image that fewer than signatures.quorum people signed")
	o.signatures.addFlags(f)
}

func (o requireOptions) check() error {
	if o.signatures.from != "" && !o.required {
		return usagef("--signatures-from goes with --require-signatures")
	}
	return nil
}

// unsignedError means that too few people signed published images, so they are not used.
type unsignedError struct {
	refs   []graph.Ref
	quorum int
	err    error // why some signatures could not be checked; nil if all were
}

func (e *unsignedError) Error() string {
	s := fmt.Sprintf("fewer than %d people whose keys you trust signed the published image of %s; for details, run sx verify %s --signatures",
		e.quorum, names(e.refs), e.refs[0])
	if e.err != nil {
		s += "; some signatures could not be checked: " + text.Field(e.err.Error())
	}
	return s
}

func (e *unsignedError) code() int {
	if e.err != nil {
		return exitFetch
	}
	return exitUnsigned
}

// permit checks the signatures of the published digests of refs. The error is an
// *unsignedError, or says why the check could not begin.
func (o requireOptions) permit(ctx context.Context, t *tree.Tree, set settings.Settings, refs []graph.Ref) error {
	return o.signatures.inBackground(t, set, func(b *signers.Background) error {
		refs = slices.DeleteFunc(slices.Clone(refs), func(ref graph.Ref) bool { return t.Published[ref.String()].IsZero() })
		for _, ref := range refs {
			b.Add(ctx, ref.String(), t.Published[ref.String()])
		}
		e := &unsignedError{quorum: b.Lookup.Quorum}
		for i, r := range b.Wait() {
			if !r.Enough() {
				e.refs = append(e.refs, refs[i])
				e.err = errors.Join(e.err, r.Err)
			}
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case len(e.refs) > 0:
			return e
		}
		return nil
	})
}

// permitted returns the refs whose images enough people signed, and an *unsignedError
// that names the others. With any other error it returns no refs.
func (o requireOptions) permitted(ctx context.Context, t *tree.Tree, set settings.Settings, refs []graph.Ref) ([]graph.Ref, error) {
	if !o.required {
		return refs, nil
	}
	err := o.permit(ctx, t, set, refs)
	var unsigned *unsignedError
	switch {
	case err == nil:
		return refs, nil
	case !errors.As(err, &unsigned):
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(refs), func(ref graph.Ref) bool { return slices.Contains(unsigned.refs, ref) }), err
}
