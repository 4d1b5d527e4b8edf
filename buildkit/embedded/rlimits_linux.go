package embedded

import (
	"golang.org/x/sys/unix"
)

// stackSize is the soft limit of a stack that Linux gives init and that dockerd has, in
// bytes. Without one ("ulimit -s unlimited") the kernel lays memory out otherwise.
const stackSize = 8 << 20

// ofRuns are the resource limits that a RUN inherits and that dockerd's RUNs do not have:
// docker's own unit lifts some, and Linux gives init no others. That of open files is
// part of the request.
var ofRuns = []int{
	unix.RLIMIT_AS, unix.RLIMIT_CORE, unix.RLIMIT_CPU, unix.RLIMIT_DATA, unix.RLIMIT_FSIZE, unix.RLIMIT_LOCKS,
	unix.RLIMIT_NPROC, unix.RLIMIT_RSS, unix.RLIMIT_STACK,
}

// liftLimits makes RUN independent of the limits of the shell that sx was started in:
// none is left where this process may lift it (CAP_SYS_RESOURCE), else the soft one becomes
// the hard one.
func liftLimits() {
	for _, which := range ofRuns {
		var l unix.Rlimit
		if unix.Getrlimit(which, &l) != nil {
			continue
		}
		for _, hard := range []uint64{unix.RLIM_INFINITY, l.Max} {
			l = unix.Rlimit{Cur: hard, Max: hard}
			if which == unix.RLIMIT_STACK {
				l.Cur = min(hard, stackSize)
			}
			if unix.Setrlimit(which, &l) == nil {
				break
			}
		}
	}
}
