// Pause holds a pod's namespaces and does nothing.
package main

import "time"

func main() {
	for {
		time.Sleep(time.Hour)
	}
}
