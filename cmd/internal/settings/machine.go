package settings

import (
	"math"
	"runtime"
	"sync"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// perJob is what a build that says nothing else is taken to need.
const perJob = 2 << 30

// defaultJobs is one for each core that this process may use, but at most 8, because most builds use every core by
// themselves, and at most one for each 2 GiB of memory.
func defaultJobs() int {
	return jobsFor(runtime.GOMAXPROCS(0), machineMemory())
}

func jobsFor(cores int, memory int64) int {
	return max(min(cores, 8, int(memory/perJob)), 1)
}

// defaultMemory leaves a tenth for what is no build.
func defaultMemory() int64 { return machineMemory() / 10 * 9 }

// machineMemory is the machine's, or what the cgroup of this process may use of it.
var machineMemory = sync.OnceValue(func() int64 {
	memory := uint64(math.MaxInt64)
	for _, ask := range []memlimit.Provider{memlimit.FromSystem, memlimit.FromCgroup} {
		if m, err := ask(); err == nil && m > 0 {
			memory = min(memory, m)
		}
	}
	return int64(memory)
})
