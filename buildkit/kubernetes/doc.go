// Package kubernetes reaches BuildKit engines in pods through the API server of a
// Kubernetes cluster. No kubectl is needed.
//
// [Pool] is a StatefulSet of buildkitd that sx makes and reuses: each of its machines is
// a pod, which is chosen by its owner, readiness and load, and never by its name. [Pod]
// is one buildkitd in a pod that sx did not make. Both are a [buildkit.Engine].
//
// The account and the cluster come from the user's kubeconfig, as kubectl reads it, or in
// a pod from its service account. The package changes only objects that have sx's label,
// force-deletes nothing, and scales down no pod that another run of sx uses. Every
// request has a time limit; a right that the account lacks is one error, which names it.
//
// [ParseAddress] is where to start.
package kubernetes
