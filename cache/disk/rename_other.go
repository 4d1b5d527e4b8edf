//go:build !linux

package disk

import "errors"

func Exchange(a, b string) error { return errors.ErrUnsupported }

func renameNoReplace(from, to string) error { return errors.ErrUnsupported }
