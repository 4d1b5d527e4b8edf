package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"codeberg.org/stagex/sx/cmd/internal/gpg"
	"codeberg.org/stagex/sx/cmd/internal/text"
)

// Time limits of requests to registries and proxies.
const (
	dialTime  = 5 * time.Second
	reachTime = 15 * time.Second
	// HelperTime is how long a credential helper may take here; in a build it has longer,
	// because it may ask for a password.
	HelperTime = 10 * time.Second
)

// network has the lines about proxies, registries and credentials.
func (m Machine) network(ctx context.Context) []Line {
	proxies := m.proxies(ctx)
	if m.Offline {
		return append(proxies, m.logins(ctx))
	}
	return append(append(proxies, m.registries(ctx)...), m.logins(ctx))
}

// proxyVariables are those that Go's HTTP client reads, in its order.
var proxyVariables = [][]string{{"HTTP_PROXY", "http_proxy"}, {"HTTPS_PROXY", "https_proxy"}}

// proxies has a line for each proxy of the environment.
func (m Machine) proxies(ctx context.Context) (lines []Line) {
	const name = "proxies"
	seen := map[string]bool{}
	for _, names := range proxyVariables {
		for _, variable := range names {
			value := m.Getenv(variable)
			if value == "" {
				continue
			}
			if !seen[value] {
				seen[value] = true
				lines = append(lines, m.proxy(ctx, name, variable, value))
			}
			break
		}
	}
	if lines == nil && cmp.Or(m.Getenv("ALL_PROXY"), m.Getenv("all_proxy")) != "" {
		return []Line{limit(name, "set HTTPS_PROXY and HTTP_PROXY", "ALL_PROXY is set, which sx does not read")}
	}
	if lines == nil {
		return []Line{ok(name, "none")}
	}
	return lines
}

func (m Machine) proxy(ctx context.Context, name, variable, value string) Line {
	remedy := "correct or unset " + variable
	u, err := parseProxy(value)
	if err != nil {
		return stop(name, remedy, "%s is not the address of a proxy, such as http://proxy.example:3128", variable)
	}
	if m.Offline {
		return ok(name, "%s is %s", variable, u.Redacted())
	}
	ctx, cancel := context.WithTimeoutCause(ctx, dialTime, fmt.Errorf("no answer within %s", dialTime))
	defer cancel()
	if err := m.Dial(ctx, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), defaultPorts[u.Scheme]))); err != nil {
		return stop(name, remedy, "%s is %s, which cannot be reached: %v", variable, u.Redacted(), err)
	}
	return ok(name, "%s is %s, which answers", variable, u.Redacted())
}

var defaultPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// parseProxy reads a proxy's address as Go's HTTP client does: http:// may be left out.
func parseProxy(value string) (*url.URL, error) {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err == nil && (u.Hostname() == "" || defaultPorts[u.Scheme] == "") {
		err = errors.New("no proxy's address")
	}
	return u, err
}

// hosts are the registries of the settings.
func (m Machine) hosts() (hosts []string) {
	r := m.Settings.Registries
	for _, place := range slices.Concat(r.Hosts, r.Mirrors, []string{strings.TrimPrefix(m.Settings.Fetch.From, "oci://")}) {
		host, _, _ := strings.Cut(place, "/")
		if host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// registries has the line about published images, and one about a clock that differs from
// the registries'.
func (m Machine) registries(ctx context.Context) []Line {
	const name = "registries"
	hosts := m.hosts()
	ctx, cancel := context.WithTimeoutCause(ctx, reachTime, fmt.Errorf("no answer within %s", reachTime))
	defer cancel()
	errs, offs := make([]error, len(hosts)), make([]time.Duration, len(hosts))
	var all sync.WaitGroup
	for i, host := range hosts {
		all.Go(func() {
			clock, err := m.Reach(ctx, host)
			if errs[i] = err; err == nil && !clock.IsZero() {
				offs[i] = m.Now().Sub(clock)
			}
		})
	}
	all.Wait()
	var answer, wrong []string
	for i, host := range hosts {
		if errs[i] == nil {
			answer = append(answer, host)
		} else {
			wrong = append(wrong, errs[i].Error())
		}
	}
	if wrong != nil {
		return []Line{limit(name, "check the network (and HTTPS_PROXY); sources are fetched from other hosts, and only --preseed needs these", "%s", strings.Join(wrong, "; "))}
	}
	lines := []Line{ok(name, "%s answer", strings.Join(answer, " and "))}
	if m.clock().State != OK { // which has its line already
		return lines
	}
	return append(lines, clocks(hosts, offs)...)
}

// clocks has a line if the clocks of all registries agree that this one is off.
func clocks(hosts []string, offs []time.Duration) []Line {
	const slack = 5 * time.Minute
	for _, off := range offs {
		if off.Abs() < slack {
			return nil
		}
	}
	if len(offs) == 0 {
		return nil
	}
	how := "ahead of"
	if offs[0] < 0 {
		how = "behind"
	}
	return []Line{limit("clock", setClock, "it is %s %s that of %s: certificates and make's times need it right", text.Duration(offs[0].Abs()), how, hosts[0])}
}

// logins has the line about the credentials for the registries.
func (m Machine) logins(ctx context.Context) Line {
	const name = "credentials"
	var users, wrong []string
	for _, host := range m.hosts() {
		user, told := m.Login(ctx, host)
		if user != "" {
			users = append(users, host+" as "+user)
		}
		for _, t := range told {
			if !slices.Contains(wrong, t) {
				wrong = append(wrong, t)
			}
		}
	}
	switch {
	case wrong != nil:
		return limit(name, "docker login, or correct or remove that file; images are pulled without credentials meanwhile", "%s", strings.Join(wrong, "; "))
	case users == nil:
		return ok(name, "none; published images are pulled without")
	}
	return ok(name, "%s", strings.Join(users, ", "))
}

// gpg has the line about the program that signs.
func (m Machine) gpg(ctx context.Context) []Line {
	version, err := m.GPG(ctx)
	if err != nil {
		var missing *gpg.MissingError
		if errors.As(err, &missing) {
			err = fmt.Errorf("%s cannot be run (%w)", missing.Program, missing.Err)
		}
		return []Line{limit("gpg", "apt-get install gnupg, or name a program in STAGEX_GPG", "%v; only sx sign and signed receipts need it", err)}
	}
	return []Line{ok("gpg", "%s", version)}
}
