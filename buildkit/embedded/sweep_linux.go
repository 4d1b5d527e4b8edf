package embedded

import (
	"time"

	"codeberg.org/stagex/sx/buildkit"
	"codeberg.org/stagex/sx/buildkit/embedded/worker"
)

var _ buildkit.Sweeper = (*Engine)(nil)

// sweepTime bounds how long the processes of a killed engine may take to end.
const sweepTime = 2 * time.Second

// Sweep removes the cgroups of a killed engine, which itself removes them when it ends
// and when it starts. It leaves them alone while an engine runs in the folder.
func (e *Engine) Sweep() {
	lock, err := tryLock(e.Dir + ".lock")
	if lock == nil || err != nil {
		return
	}
	defer lock.Close()
	for _, root := range worker.States(e.Dir) {
		for began := time.Now(); worker.HasCgroups(root) && time.Since(began) < sweepTime; time.Sleep(pollInterval) {
			worker.ClearCgroups(root)
		}
	}
}
