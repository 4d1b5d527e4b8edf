// Package edit changes package.toml files and keeps the rest of their text: comments, order,
// layout, line ends. It makes new definitions, too.
//
// An [Edit] is prepared in memory and read by the loader of package graph, as if the files
// already said so, before any file is written: a change that would break a definition is
// refused. [File.Write] replaces a file only if it is still what was read.
//
// It refuses to download anything: an Edit lists the sources whose hashes it lacks, and the
// caller gives them. Start at [Tree.Update].
package edit
