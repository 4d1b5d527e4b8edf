package progress

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// tailLines is how many lines the test asks for.
const tailLines = 20

func TestLogTail(t *testing.T) {
	long := strings.Repeat("é", tailBytes)
	for name, tt := range map[string]struct {
		log  string
		want []string
	}{
		"empty":            {"", nil},
		"only line ends":   {"\n\n", nil},
		"short":            {"a\n\nb\n", []string{"a", "", "b"}},
		"no last line end": {"a\nb", []string{"a", "b"}},
		"many":             {"x\n" + strings.Repeat("a\n", tailLines), strings.Split(strings.Repeat("a\n", tailLines-1)+"a", "\n")},
		"sx's own end":     {"a\nsx: failed after 2s: exit code: 1\n", []string{"a"}},
		"only that":        {"sx: not run after 2s\n", nil},
		"BuildKit's":       {"#9 0.1 a\n#9 ERROR: x\n------\n > [2/3] RUN a:\n0.1 a\n------\nsx: failed\n", []string{" > [2/3] RUN a:", "0.1 a"}},
		"silent step":      {"#8 0.1 a\n#9 ERROR: x\n------\n > [2/3] RUN a:\n------\n", []string{"#8 0.1 a", "#9 ERROR: x"}},
		"half of that":     {"0.1 a\n------\n", []string{"0.1 a"}},
		"only dashes":      {"------\n", nil},
		"long line":        {long + "x\nend\n", []string{"…" + strings.Repeat("é", tailBytes/2-3) + "x", "end"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(tt.log), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := LogTail(path, tailLines)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
