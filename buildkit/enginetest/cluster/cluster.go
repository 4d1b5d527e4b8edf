//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Address of the API server inside the cluster's network. Node N has 10.88.0.N, its
// pods 10.89.N.0/24.
const apiAddress = "10.88.0.1:6443"

// BuildKit is an image of a stock buildkitd that every node has.
const BuildKit = "docker.io/sx-test/buildkit:1"

const pause = "docker.io/sx-test/pause:1"

// Cluster is a running cluster.
type Cluster struct {
	Dir string // of its state and logs
	// Kubeconfig is a file for clients on the host, who may do everything.
	Kubeconfig string
	// Inside is the same file for clients in the network of the cluster.
	Inside string
	Nodes  []*Node
	// The control plane.
	Etcd, APIServer, Manager, Scheduler *Part

	programs string // folder
	spaces   *namespaces
	cgroup   string // below each hierarchy
	relay    net.Listener
}

// Start starts a cluster of nodes from the folder of programs, with its state in dir,
// and waits until they are ready. One process runs one at a time.
func Start(ctx context.Context, programs, dir string, nodes int) (*Cluster, error) {
	c := &Cluster{Dir: dir, Kubeconfig: filepath.Join(dir, "kubeconfig"), Inside: filepath.Join(dir, "inside"), programs: programs, cgroup: fmt.Sprintf("%s%d", cgroupPrefix, os.Getpid())}
	removeStale()
	if err := c.start(ctx, nodes); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, nodes int) (err error) {
	if c.spaces, err = newNamespaces(c.Dir, nodes); err != nil {
		return err
	}
	if c.relay, err = c.spaces.relay(apiAddress); err != nil {
		return err
	}
	if err := c.writeImages(); err != nil {
		return err
	}
	if err := c.startAPI(); err != nil {
		return err
	}
	for n := 1; n <= nodes; n++ {
		node, err := c.startNode(n)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, node)
	}
	if err := c.until(ctx, "the API server is ready", func() bool {
		_, err := c.Kubectl(ctx, "get", "--raw=/readyz")
		return err == nil
	}); err != nil {
		return err
	}
	if err := c.startControllers(); err != nil {
		return err
	}
	return c.until(ctx, "all nodes are ready and have the images", func() bool { return c.ready(ctx) == nodes && c.loaded() })
}

// Close ends the cluster and removes what it left outside of Dir.
func (c *Cluster) Close() error {
	if c.relay != nil {
		c.relay.Close()
	}
	if c.spaces != nil {
		thaw(c.cgroup)
		c.spaces.end()
	}
	return removeCgroups(c.cgroup)
}

// Kubectl runs kubectl as a cluster's administrator and returns what it prints.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectl(ctx, "", args...)
}

// Apply gives the API server objects in YAML or JSON.
func (c *Cluster) Apply(ctx context.Context, objects string) error {
	_, err := c.kubectl(ctx, objects, "apply", "-f", "-")
	return err
}

func (c *Cluster) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.programs, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+c.Dir)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("running kubectl %s: %w: %s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

// HostIP is the address of this machine in the network of the cluster, which pods reach.
const HostIP = "10.88.0.1"

// Listen listens in the network of the cluster, at a port of HostIP.
func (c *Cluster) Listen() (lis net.Listener, err error) {
	if went := c.spaces.there(func() { lis, err = net.Listen("tcp4", HostIP+":0") }); went != nil {
		return nil, went
	}
	return lis, err
}

// Within returns the command line that runs a program of the host in the network of the
// cluster, and only that.
func (c *Cluster) Within(args ...string) []string {
	return append([]string{"nsenter", "--target", strconv.Itoa(c.spaces.pid()), "--net", "--"}, args...)
}

// Logs returns the end of each part's log.
func (c *Cluster) Logs() string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(c.Dir, "*.log"))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		fmt.Fprintf(&all, "%s:\n%s\n", filepath.Base(file), data[max(0, len(data)-4000):])
	}
	return all.String()
}

// ready returns how many nodes are ready.
func (c *Cluster) ready(ctx context.Context) int {
	out, _ := c.Kubectl(ctx, "get", "nodes", `-o=jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`)
	return strings.Count(out, "True")
}

// loaded reports whether each node has its images; node.sh says so.
func (c *Cluster) loaded() bool {
	for _, n := range c.Nodes {
		if _, err := os.Stat(filepath.Join(n.dir, "loaded")); err != nil {
			return false
		}
	}
	return true
}

// until polls until ok, or until ctx ends or a minute is over.
func (c *Cluster) until(ctx context.Context, what string, ok func() bool) error {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w\n%s", what, ctx.Err(), c.Logs())
		}
	}
	return nil
}
