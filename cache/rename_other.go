//go:build !linux

package cache

import "errors"

func exchange(a, b string) error { return errors.ErrUnsupported }

func renameNoReplace(from, to string) error { return errors.ErrUnsupported }
