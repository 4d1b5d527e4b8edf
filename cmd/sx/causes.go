package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"codeberg.org/stagex/sx/cmd/internal/text"
	"codeberg.org/stagex/sx/fetch"
	"codeberg.org/stagex/sx/fetch/transfer"
	"codeberg.org/stagex/sx/preseed"
)

// sameCause is how many failures with the same cause are printed one by one; more are
// printed together.
const sameCause = 3

// causes groups failures by cause.
type causes struct {
	order []string
	by    map[string]*cause
}

// cause is a reason that several sources or images failed for.
type cause struct {
	reason        error // of the first failure
	names, places []string
}

// add records that name failed, for the reasons of attempts.
func (c *causes) add(name string, attempts transfer.Attempts) {
	for _, a := range attempts {
		key := transfer.Cause(a.Reason)
		if c.by == nil {
			c.by = map[string]*cause{}
		}
		if c.by[key] == nil {
			c.order = append(c.order, key)
			c.by[key] = &cause{reason: a.Reason}
		}
		c.by[key].names = addNew(c.by[key].names, name)
		if place := placeOf(a.Place); place != "" {
			c.by[key].places = addNew(c.by[key].places, place)
		}
	}
}

// addNew appends s, unless it is among the last 64 elements: equal names come together.
func addNew(all []string, s string) []string {
	for _, a := range all[max(0, len(all)-64):] {
		if a == s {
			return all
		}
	}
	return append(all, s)
}

// placeOf returns the host of a URL, and anything else (a registry) unchanged.
func placeOf(place string) string {
	if u, err := url.Parse(place); err == nil && u.Host != "" {
		return u.Host
	}
	return place
}

// common reports whether the failures with this reason are printed together.
func (c *causes) common(reason error) bool {
	found := c.by[transfer.Cause(reason)]
	return found != nil && len(found.names) > sameCause
}

// print writes a paragraph for each common cause: how many failed for it, which, where,
// and what to do. what is the noun for one of them, such as "image".
func (c *causes) print(w io.Writer, what string) {
	for _, key := range c.order {
		found := c.by[key]
		if len(found.names) <= sameCause {
			continue
		}
		where := ""
		if len(found.places) > 0 {
			where = " at " + some(found.places)
		}
		fmt.Fprintf(w, "    %s%s: %s\n", count(len(found.names), what), text.Field(where), text.Field(transfer.Attempt{Reason: found.reason}.Text()))
		fmt.Fprintf(w, "        (%s)\n", text.Field(some(found.names)))
		if transfer.Unreachable(found.reason) {
			fmt.Fprintf(w, "        check this machine's network, name server and proxy (HTTPS_PROXY), then run the same command again; finished downloads are kept\n")
		}
	}
}

// some lists the first names and counts the rest.
func some(names []string) string {
	said := strings.Join(names[:min(len(names), skippedNames)], ", ")
	if more := len(names) - skippedNames; more > 0 {
		said += fmt.Sprintf(" and %d more", more)
	}
	return said
}

// printMirrors writes the answer of each mirror; a common cause only once.
func printMirrors(w io.Writer, failed *fetch.Error) {
	var common causes
	for _, f := range failed.Failures {
		common.add(f.Name, f.Attempts)
	}
	var single fetch.Error
	for _, f := range failed.Failures {
		f.Attempts = slices.DeleteFunc(slices.Clone(f.Attempts), func(a transfer.Attempt) bool { return common.common(a.Reason) })
		if len(f.Attempts) > 0 {
			single.Failures = append(single.Failures, f)
		}
	}
	table := text.NewLogWriter(w) // reasons may quote a server
	single.Table(table)
	table.Close()
	common.print(w, "source")
}

// printRegistries writes the answer of each registry; a common cause only once.
func printRegistries(w io.Writer, failed *preseed.Error) {
	var common causes
	for _, f := range failed.Failures {
		common.add(f.Image.Output, f.Attempts)
	}
	defer common.print(w, "image")
	for _, f := range failed.Failures {
		for _, at := range f.Attempts {
			if common.common(at.Reason) {
				continue
			}
			fmt.Fprintf(w, "    %s  %s  %s\n", f.Image.Output, cmp.Or(at.Place, "-"), text.Field(at.Text()))
		}
	}
}
