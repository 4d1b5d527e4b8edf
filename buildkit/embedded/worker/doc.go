// Package worker opens the state of an engine and puts BuildKit's parts together on it.
//
// state_linux.go finds the state, or makes one; boot_linux.go drops a state that a stop
// of the machine may have damaged; worker_linux.go connects BuildKit's executor, storage,
// cache and exporter. Everything in a state is a cache.
//
// The package starts no process and opens no socket: package embedded does, which runs
// it in the engine's process.
package worker
