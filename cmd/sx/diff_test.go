package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() { commands["damage"], commands["spoil"] = damageLayer, spoilBlobs }

// spoil flip|cut|lack makes the registry send other bytes for each blob, half of it, or
// none.
func spoilBlobs(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "spoil flip|cut|lack")
	s := ts.Value(servedKey{}).(*served1).served
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = args[0]
}

func spoiled(w http.ResponseWriter, r *http.Request, registry http.Handler, how string) {
	rec := httptest.NewRecorder()
	registry.ServeHTTP(rec, r)
	body := rec.Body.Bytes()
	if how == "lack" || rec.Code != http.StatusOK || len(body) == 0 {
		http.Error(w, "there is no such blob", http.StatusNotFound)
		return
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	if how == "flip" {
		body[len(body)/2] ^= 1
	}
	w.WriteHeader(rec.Code)
	if how == "cut" {
		w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	}
	w.Write(body)
}

// damage LAYOUT changes a bit of the largest blob of a layout.
func damageLayer(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "damage LAYOUT")
	files, err := filepath.Glob(ts.MkAbs(filepath.Join(args[0], "blobs", "sha256", "*")))
	ts.Check(err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		ts.Check(err)
		if data[0] != '{' { // no document
			flip(ts, false, []string{file})
		}
	}
}
