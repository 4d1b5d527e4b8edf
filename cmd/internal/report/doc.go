// Package report makes a model of a run from its event stream, a page that shows it,
// and a comparison of two runs.
//
// Start at [Of], which turns the events of package runs into a [Run], and [WritePage].
// It knows neither the driver nor a tree: what an event does not say is not in the page.
// Events are not trusted: names, logs and numbers may be anything, and the page shows
// them as text. Everything it computes is bounded by the length of the stream.
package report
