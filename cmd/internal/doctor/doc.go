// Package doctor checks whether sx can build on a machine, and says for each thing that it
// needs that it is there, or what to type.
//
// A [Machine] is what is asked: files of the kernel, settings, the engine, registries.
// [Examine] turns its answers into lines; each is ok, a limitation (sx works, but not all of
// it) or a stop (builds cannot work). [Try] builds two images of some hundred bytes on an
// engine, because only that shows what a kernel, a runc and a filesystem really allow.
//
// It refuses to run anything of a tree, to repair anything, and to know the embedded engine:
// what that needs of a machine it is told by the engine itself. Every program and server is
// asked for a limited time.
package doctor
