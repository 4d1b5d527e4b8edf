// Package edit changes values in package.toml files and keeps the rest of their text:
// comments, order, layout, line ends. It also makes new definitions.
//
// An [Edit] is prepared in memory. Before any file is written, the loader of package
// graph reads the tree with the changed texts, and a change that would break a
// definition is refused. [File.Write] replaces a file only if it has not changed since
// it was read.
//
// It refuses to download anything: an Edit lists the sources whose hashes it lacks, and
// the caller sets them. Start at [Tree.Update].
package edit
