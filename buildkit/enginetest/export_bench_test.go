package enginetest

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// exported matches the time of a layer in a plain log.
var exported = regexp.MustCompile(`#\d+ (?:exporting|rewriting) layers.* (\d+\.\d+)s done`)

func exportTime(b *testing.B, log string) (seconds float64) {
	for _, m := range exported.FindAllStringSubmatch(log, -1) {
		s, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			b.Fatal(err)
		}
		seconds += s
	}
	return seconds
}

const oneFile = `
-- packages/core/big/Containerfile --
FROM scratch
COPY --from=fetch noise /
`

// BenchmarkExport measures the export of one layer of 300 MB that does not compress,
// new and known, by the embedded engine and by a stock buildkitd in turns.
func BenchmarkExport(b *testing.B) {
	if err := programs.BuildStock("buildkitd", "buildctl"); err != nil {
		b.Fatal(err)
	}
	stock := StartStock(b, programs)
	t := NewTree(b, programs, "", oneFile)
	t.Patience = 5 * patience
	data := make([]byte, 300_000_000)
	rand.NewChaCha8([32]byte{}).Read(data)
	var ours, theirs [2]float64 // new and known
	for i := 0; b.Loop(); i++ {
		binary.LittleEndian.PutUint64(data, uint64(i))
		t.Write("packages/core/big/package.toml", []byte("[package]\nname = \"big\"\n"+t.Source("core/big", "noise", data)))
		for known := range ours {
			t.must(os.RemoveAll(t.Path("out")))
			t.Sx("build", "core-big")
			ours[known] += exportTime(b, t.Sx("log", "core-big"))
			log, err := exec.Command(stock.buildctl, stock.Args(t, t.Requests()[0].Request, "tar=false,dest="+t.Path("dest"))...).CombinedOutput()
			if err != nil {
				b.Fatalf("buildctl: %v\n%s", err, log)
			}
			theirs[known] += exportTime(b, string(log))
		}
	}
	for known, name := range []string{"new", "known"} {
		b.ReportMetric(ours[known]/float64(b.N), name+"-sx-s")
		b.ReportMetric(theirs[known]/float64(b.N), name+"-stock-s")
		b.ReportMetric(ours[known]/theirs[known], name+"-ratio")
	}
}
