// Package cluster runs a Kubernetes cluster on this machine: etcd, the control plane,
// and nodes of containerd and kubelet, from a folder that scripts/kubernetes filled.
//
// Processes, mounts and network live in namespaces that end with the test, as do the
// cgroups; of the host they take one port of loopback. The nodes share a network
// namespace, so pods reach each other without an overlay. Each part can be stopped,
// continued and killed. It needs root.
//
// It knows nothing of sx. Start reading at cluster.go.
package cluster
