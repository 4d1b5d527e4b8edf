package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// An ordinary user's engine is root of a user namespace of its own. How it gets
// there:
//
//  1. sx clones itself into new user, PID and mount namespaces. In the user
//     namespace no user is mapped yet, and the exec takes all capabilities, so
//     this first half ([enterUserNS]) only waits.
//  2. sx runs newuidmap and newgidmap, which are set-uid root and let a user map
//     the ids that /etc/subuid and /etc/subgid give, and says that it is done.
//  3. The first half executes itself again: it is uid 0 of its namespace now, and
//     an exec by uid 0 gives all capabilities over the namespace.

// idMaps say which ids of this machine the ids of the engine's user namespace
// are. nil is no namespace: root builds as itself.
type idMaps struct {
	UID, GID             []user.IDMap
	NewUIDMap, NewGIDMap string // paths of the programs
}

// minIDs is how many ids besides root a namespace must have: images use up to
// 65534, "nobody".
const minIDs = 65535

// newIDMaps makes id 0 of the namespace the caller, and the ids after it those
// that /etc/subuid and /etc/subgid give.
func newIDMaps(uid, gid int, subuid, subgid []user.SubID) *idMaps {
	return &idMaps{UID: idMap(uid, subuid), GID: idMap(gid, subgid)}
}

func idMap(own int, ranges []user.SubID) []user.IDMap {
	m := []user.IDMap{{ID: 0, ParentID: int64(own), Count: 1}}
	next := int64(1)
	for _, r := range ranges {
		m = append(m, user.IDMap{ID: next, ParentID: r.SubID, Count: r.Count})
		next += r.Count
	}
	return m
}

func countIDs(ranges []user.SubID) (n int64) {
	for _, r := range ranges {
		n += r.Count
	}
	return n
}

// name tells these maps from all others: files of a state made with other maps
// have other owners.
func (m *idMaps) name() string {
	blob, err := json.Marshal([2][]user.IDMap{m.UID, m.GID})
	if err != nil {
		panic("buildkit: internal error: " + err.Error())
	}
	sum := sha256.Sum256(blob)
	return hex.EncodeToString(sum[:6])
}

// apply gives the namespace of process pid its ids.
func (m *idMaps) apply(pid int) error {
	if err := runIDMap(m.NewUIDMap, pid, m.UID); err != nil {
		return err
	}
	return runIDMap(m.NewGIDMap, pid, m.GID)
}

// runIDMap calls newuidmap or newgidmap: PID, then ID PARENT COUNT for each range.
func runIDMap(program string, pid int, m []user.IDMap) error {
	args := []string{strconv.Itoa(pid)}
	for _, r := range m {
		for _, n := range []int64{r.ID, r.ParentID, r.Count} {
			args = append(args, strconv.FormatInt(n, 10))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return &idMapError{program, strings.Join(strings.Fields(string(out)), " "), err}
	}
	return nil
}

// idMapError is what newuidmap or newgidmap said when it failed.
type idMapError struct {
	program, said string
	err           error
}

func (e *idMapError) Error() string { return fmt.Sprintf("%s: %v: %s", e.program, e.err, e.said) }

func (e *idMapError) Unwrap() error {
	if strings.Contains(e.said, "Operation not permitted") {
		return unix.EPERM
	}
	return e.err
}

// mappedFD is the descriptor on which the first half waits for its ids.
const mappedFD = 5

// enterUserNS is the first half: it waits for the ids and becomes the second. It
// returns only where that fails, or where sx went away.
func enterUserNS(cfg childConfig) error {
	mapped := os.NewFile(mappedFD, "mapped")
	if n, err := mapped.Read(make([]byte, 1)); n != 1 {
		return fmt.Errorf("waiting for the user namespace's ids: %w", err)
	}
	mapped.Close()
	cfg.Enter = false
	blob, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	// /proc is still that of the outer namespace, which knows this process too.
	err = unix.Exec("/proc/self/exe", []string{"sx", ChildArg, string(blob)}, os.Environ())
	return fmt.Errorf("executing sx in its user namespace: %w", err)
}
