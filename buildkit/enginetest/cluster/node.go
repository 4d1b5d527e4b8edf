//go:build linux

package cluster

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"codeberg.org/stagex/sx/buildkit/enginetest/image"
)

//go:embed node.sh
var nodeScript string

// Node is a machine of the cluster: a containerd and a kubelet in namespaces of their
// own. [Part.Kill] ends it with its pods, as a power cut would.
type Node struct {
	*Part
	Name string // "node1"
	dir  string
}

// writeImages writes the images that each node loads.
func (c *Cluster) writeImages() error {
	buildkit, err := image.BuildKit(BuildKit, filepath.Join(c.programs, "buildkitd"), filepath.Join(c.programs, "buildctl"))
	if err != nil {
		return err
	}
	if err := buildkit.Write(c.path("buildkit.tar")); err != nil {
		return err
	}
	// What holds a pod's network has nothing to do but to stay.
	sleep := image.Image{Name: pause, Entrypoint: []string{"/pause"}, Files: map[string]string{"pause": filepath.Join(c.programs, "pause")}}
	return sleep.Write(c.path("pause.tar"))
}

// startNode starts node n, again after its [Part.Kill].
func (c *Cluster) startNode(n int) (*Node, error) {
	node := &Node{Name: fmt.Sprintf("node%d", n), dir: c.path(fmt.Sprintf("node%d", n))}
	group := "/" + c.cgroup + "/" + node.Name
	if err := makeCgroups(group); err != nil {
		return nil, err
	}
	for name, content := range map[string]string{
		"containerd.toml":      c.containerdConfig(node.dir),
		"node.sh":              nodeScript,
		"cni/pods.conflist":    networkConfig(n),
		"kubelet.yaml":         kubeletConfig(n, group),
		"vm.overcommit_memory": "1\n", "kernel.panic": "10\n", "kernel.panic_on_oops": "1\n", // as the kubelet wants them
	} {
		path := filepath.Join(node.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			return nil, err
		}
	}
	var err error
	node.Part, err = c.spaces.run(c.path(node.Name+".log"),
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts",
		"sh", "-eu", filepath.Join(node.dir, "node.sh"), strconv.Itoa(n), c.Dir, c.programs)
	return node, err
}

// Restart starts a node again that was killed.
func (c *Cluster) Restart(n *Node) error {
	number, err := strconv.Atoi(strings.TrimPrefix(n.Name, "node"))
	if err != nil {
		return err
	}
	again, err := c.startNode(number)
	if err != nil {
		return err
	}
	*n = *again
	return nil
}

// containerdConfig returns the configuration for containerd. Paths that it leaves out
// lie in folders that node.sh gives the node.
func (c *Cluster) containerdConfig(dir string) string {
	return fmt.Sprintf(`version = 2
disabled_plugins = ["io.containerd.nri.v1.nri"]
[plugins."io.containerd.internal.v1.opt"]
  path = %[2]q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[3]q
  restrict_oom_score_adj = true # a machine without CAP_SYS_RESOURCE starts no pod otherwise
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[4]q
    conf_dir = %[5]q
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = %[1]q
`, filepath.Join(c.programs, "runc"), filepath.Join(dir, "opt"), pause, filepath.Join(c.programs, "cni"), filepath.Join(dir, "cni"))
}

// networkConfig returns the configuration of the network of a node's pods: a bridge
// that routes to the other nodes' ones, because all are in one network namespace.
func networkConfig(n int) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "pods", "plugins": [{
	"type": "bridge", "bridge": "pods%[1]d", "isGateway": true,
	"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.89.%[1]d.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
`, n)
}

func kubeletConfig(n int, cgroup string) string {
	data, err := json.Marshal(map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"address": fmt.Sprintf("10.88.0.%d", n), "port": 10250, "readOnlyPort": 0, "healthzPort": 0,
		"authentication": map[string]any{"anonymous": map[string]any{"enabled": true}, "webhook": map[string]any{"enabled": false}},
		"authorization":  map[string]any{"mode": "AlwaysAllow"},
		"cgroupDriver":   "cgroupfs", "cgroupRoot": cgroup, "cgroupsPerQOS": true, "enforceNodeAllocatable": []string{}, "failCgroupV1": false,
		"failSwapOn": false, "oomScoreAdj": 0, "maxOpenFiles": 16384,
		"containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock", "resolvConf": "",
		"volumePluginDir":               "/var/lib/kubelet/plugins-volume",
		"localStorageCapacityIsolation": false, "makeIPTablesUtilChains": false, "nodeStatusUpdateFrequency": "4s",
		// How full the disk of this machine is, is not the tests' matter.
		"evictionHard": map[string]any{"memory.available": "1Mi"}, "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
	})
	if err != nil {
		panic(err) // only of strings and numbers
	}
	return string(data)
}
