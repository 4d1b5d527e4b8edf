// Package trace makes traces of a run from its events: for a collector that speaks OTLP,
// and as a file in the Trace Event Format that chrome://tracing and Perfetto open.
//
// A run is a trace and a span; so is each output that it ran, with spans below for what
// it waited for, the engine's work and the commit; so is each download. Their times are
// those of the events. Traces are made when the run has ended: nothing waits for a
// collector while it builds.
//
// The ids follow from the name of the run, so that engines can put their spans below those
// of outputs before these are sent. The embedded engine's are kept in an [Engine] until then.
package trace
