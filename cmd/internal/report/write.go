package report

import (
	"encoding/json"
	"fmt"
	"io"

	"codeberg.org/stagex/sx/cmd/internal/report/page"
)

// document is what a page gets.
type document struct {
	Runs []*Run `json:"runs"`
	Live bool   `json:"live,omitempty"`
}

// Data returns the JSON of a page about runs.
func Data(live bool, shown ...*Run) ([]byte, error) {
	if shown == nil {
		shown = []*Run{}
	}
	return json.Marshal(document{shown, live})
}

// WritePage writes a page about one run, or two side by side. It loads nothing else.
func WritePage(w io.Writer, shown ...*Run) error {
	title := "sx report"
	for _, r := range shown {
		title += " " + r.ID
	}
	if len(shown) == 0 || len(shown) > 2 {
		return fmt.Errorf("writing a page: want one run or two, not %d", len(shown))
	}
	return page.Write(w, title, false, document{Runs: shown})
}
