package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"codeberg.org/stagex/sx/cmd/internal/settings"
	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/cmd/internal/tree"
	"codeberg.org/stagex/sx/cmd/internal/verdict"
	"codeberg.org/stagex/sx/graph"
)

// requireOptions are the flags of what takes published images only if enough people signed them.
type requireOptions struct {
	required   bool
	signatures signatureOptions
}

func (o *requireOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.required, "require-signatures", false, "take no published image that fewer people than signatures.quorum signed")
	o.signatures.addFlags(f)
}

func (o requireOptions) check() error {
	if o.signatures.from != "" && !o.required {
		return usagef("--signatures-from goes with --require-signatures")
	}
	return nil
}

// unsignedError says that published images are not taken, because too few people signed them.
type unsignedError struct {
	refs   []graph.Ref
	quorum int
	err    error // why not all could be looked at; nil if it was
}

func (e *unsignedError) Error() string {
	s := fmt.Sprintf("fewer than %d people whose keys you trust signed the published image of %s; sx verify %s --signatures says more",
		e.quorum, names(e.refs), e.refs[0])
	if e.err != nil {
		s += "; not all of it could be looked at: " + text.Field(e.err.Error())
	}
	return s
}

func (e *unsignedError) code() int {
	if e.err != nil {
		return exitFetch
	}
	return exitUnsigned
}

// permit looks at the signatures of the published digests of refs. The error is an *unsignedError, or of what it could not
// begin with.
func (o requireOptions) permit(ctx context.Context, t *tree.Tree, set settings.Settings, refs []graph.Ref) error {
	return withWitness(t, set, o.signatures, func(w *witness) error {
		refs = slices.DeleteFunc(slices.Clone(refs), func(ref graph.Ref) bool { return t.Published[ref.String()].IsZero() })
		for _, ref := range refs {
			w.see(ctx, verdict.Verdict{Ref: ref})
		}
		w.group.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		e := &unsignedError{quorum: w.notary.quorum}
		for i, s := range w.seen {
			if !s.enough() {
				e.refs = append(e.refs, refs[i])
				e.err = errors.Join(e.err, s.err)
			}
		}
		if len(e.refs) > 0 {
			return e
		}
		return nil
	})
}

// permitted returns those of refs that are permitted, and the error of the others. Nil for refs is an error of another kind.
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
