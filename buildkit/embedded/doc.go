// Package embedded is the engine inside sx: BuildKit, run by a child process of the
// same program.
//
// [Engine.Connect] attaches to the engine of a state folder, or starts it: sx executes
// itself, and the child is PID 1 of its own PID and mount namespaces, so that a killed
// engine leaves no process and no mount behind. Without root it also has a user
// namespace of its own. The engine lives while any sx holds a connection, and a few
// seconds longer.
//
// The package speaks to no registry and knows nothing of a tree. Outside Linux there
// is no such engine: Connect returns a *buildkit.UnfitError.
//
// Start reading at embedded_linux.go, then start_linux.go and child_linux.go; package
// worker puts BuildKit's parts together, userns_linux.go is about ordinary users.
package embedded
