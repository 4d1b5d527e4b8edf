package reproduce

import (
	"bytes"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"codeberg.org/stagex/sx/cache"
)

// ThisMachine describes this machine by its first processor and its kernel; what cannot be
// read is "".
func ThisMachine() cache.Machine {
	var m cache.Machine
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "vendor_id", "CPU implementer":
			m.CPUVendor = value
		case "model name", "CPU part":
			m.CPUModel = value
		}
		if strings.TrimSpace(line) == "" { // the next processor
			break
		}
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = string(name.Release[:max(bytes.IndexByte(name.Release[:], 0), 0)])
	}
	return m
}
