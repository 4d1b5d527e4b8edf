package main

import (
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { commands["gitserver"] = gitServer }

// gitserver DIR serves the repository in DIR by git's own http-backend, at $GIT.
func gitServer(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "gitserver DIR")
	path, err := exec.Command("git", "--exec-path").Output()
	ts.Check(err)
	s := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + ts.MkAbs(args[0]), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + ts.Getenv("HOME")},
	})
	ts.Defer(s.Close)
	ts.Setenv("GIT", s.URL+"/.git")
}
