package preseed

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// Any answer counts, also a refusal; its clock is told.
func TestReach(t *testing.T) {
	at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s, %q", r.Method, r.URL, r.Header)
		}
		w.Header().Set("Date", at.Format(http.TimeFormat))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer s.Close()
	c, err := NewClient(ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	if got, err := c.Reach(t.Context(), host); err != nil || !got.Equal(at) {
		t.Errorf("%v, %v", got, err)
	}
	s.Close()
	other, err := NewClient(ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Reach(t.Context(), host); err == nil || !strings.Contains(err.Error(), "asking "+host) {
		t.Errorf("got %v", err)
	}
}

// A registry that accepts and says nothing ends with the caller's patience.
func TestReachSilent(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer s.Close()
	c, err := NewClient(ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	late := errors.New("late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, late)
	defer cancel()
	if _, err := c.Reach(ctx, strings.TrimPrefix(s.URL, "http://")); !errors.Is(err, late) {
		t.Errorf("got %v", err)
	}
	s.CloseClientConnections()
}

// A helper that hangs is given up after the limit, and told.
func TestLoginsLimit(t *testing.T) {
	home := t.TempDir()
	err := errors.Join(
		os.Mkdir(home+"/.docker", 0o700),
		os.WriteFile(home+"/.docker/config.json", []byte(`{"credsStore": "slow"}`), 0o600),
		os.WriteFile(home+"/docker-credential-slow", []byte("#!/bin/sh\nexec sleep 600\n"), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", home+":/usr/bin:/bin")
	var told []string
	k := Logins(func(name string) string { return map[string]string{"HOME": home}[name] }, func(s string) { told = append(told, s) }, 50*time.Millisecond)
	if c := k.Find(t.Context(), "docker.io", ""); c != (Credentials{}) {
		t.Errorf("found %v", c)
	}
	if all := strings.Join(told, "\n"); !strings.Contains(all, "docker-credential-slow did not answer within 50ms") {
		t.Errorf("told %q", all)
	}
}
