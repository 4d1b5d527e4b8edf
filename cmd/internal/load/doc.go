// Package load gives outputs to docker or podman, through the program that the
// user has: it knows the user's contexts, DOCKER_HOST and credentials.
//
// An output goes as one stream of tar into `docker load` or `podman load`;
// nothing is written to disk on the way. The names are made here: whatever
// index.json in out/ says, no image outside stagex/ is ever replaced.
package load
