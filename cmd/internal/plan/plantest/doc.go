// Package plantest makes plans for tests: small ones from text, and large ones in the
// shape of StageX.
package plantest
