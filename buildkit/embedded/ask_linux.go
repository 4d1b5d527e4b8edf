package embedded

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// askTime is how long a program of the machine may take to answer. Tests shorten it.
var askTime = 10 * time.Second

// ask runs a program of the machine and returns what it wrote to stdout.
func ask(program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	// As the engine runs it: an XDG_RUNTIME_DIR that is another user's, as sudo -u
	// leaves it, would keep runc from doing anything.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = time.Second // for a child of it that keeps the pipe
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("no answer within %s", askTime)
	}
	return out, err
}
