package settings

import (
	"math"
	"runtime"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// perJob is what a build that says nothing else is taken to need.
const perJob = 2 << 30

// OfMachine returns b with numbers of this machine in the place of 0. To ask for them takes longer than all other
// settings together.
func (b Build) OfMachine() Build {
	memory := MachineMemory()
	if b.Jobs == 0 {
		b.Jobs = jobsFor(runtime.GOMAXPROCS(0), memory)
	}
	if b.Memory == 0 {
		b.Memory = memory / 10 * 9 // a tenth is for everything else
	}
	return b
}

// jobsFor is one for each core that this process may use, but at most 8, because most builds use every core by
// themselves, and at most one for each 2 GiB of memory.
func jobsFor(cores int, memory int64) int {
	return max(min(cores, 8, int(memory/perJob)), 1)
}

// MachineMemory returns the machine's memory in bytes, or what the cgroup of this process may
// use of it.
func MachineMemory() int64 {
	memory := uint64(math.MaxInt64)
	for _, ask := range []memlimit.Provider{memlimit.FromSystem, memlimit.FromCgroup} {
		if m, err := ask(); err == nil && m > 0 {
			memory = min(memory, m)
		}
	}
	return int64(memory)
}
