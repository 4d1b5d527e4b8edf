package fetch

import "testing"

func TestFetch(t *testing.T) {
	w := newWorld(t)
	data := noise(1, 1<<20)
	site := serveFile(t, data)
	s := source("a.tar", data, site.URL+"/a.tar")
	rep := w.must(s)
	if len(rep.Fetched) != 1 || rep.Bytes != 1<<20 {
		t.Errorf("report %+v", rep)
	}
	w.wantFiles(".", "fetch/core/x/a.tar")
	w.log.want("begin 1", "start a.tar 0/1048576", "advance a.tar 1048576/1048576", "done a.tar fetched", "end")
	if ua := site.requests()[0].UserAgent(); ua != "sx" {
		t.Errorf("User-Agent %q", ua)
	}

	rep = w.must(s)
	if len(rep.Present) != 1 || rep.Bytes != 0 {
		t.Errorf("second run: report %+v", rep)
	}
	site.wantRequests(t, 1)
}
