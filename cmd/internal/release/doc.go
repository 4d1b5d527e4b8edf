// Package release holds the rules of a release of StageX: how versions follow each other, what may be
// published, and under which tags in which order. It reads verdicts, not signatures; those are counted
// before it publishes anything. It runs no git.
package release
