package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	clientauthentication "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// pluginTime is how long a credential plugin may take.
const pluginTime = time.Minute

// maxCredential bounds what a plugin may write.
const maxCredential = 1 << 20

// pluginError reports that the program that the kubeconfig names for credentials gave
// none.
type pluginError struct {
	command string
	problem string
}

func (e *pluginError) Error() string { return e.command + ": " + e.problem }

// askPlugin runs the program that the kubeconfig names for credentials, and puts what it
// answers into config. It returns until when that is valid, zero if it does not say. The
// program is the user's own choice; client-go would run it without a time limit.
func askPlugin(ctx context.Context, config *rest.Config) (until time.Time, err error) {
	plugin := config.ExecProvider
	command := strings.Join(append([]string{plugin.Command}, plugin.Args...), " ")
	if plugin.InteractiveMode == clientcmdapi.AlwaysExecInteractiveMode {
		return time.Time{}, &pluginError{command, "it wants a terminal, and sx gives it none"}
	}
	info, err := pluginInput(config)
	if err != nil {
		return time.Time{}, err
	}
	answer, err := runPlugin(ctx, plugin, info)
	if err != nil {
		return time.Time{}, &pluginError{command, err.Error()}
	}
	var got clientauthentication.ExecCredential
	if err := json.Unmarshal(answer, &got); err != nil || got.Status == nil {
		return time.Time{}, &pluginError{command, "its output is not an ExecCredential with a status"}
	}
	s := got.Status
	if s.Token == "" && (s.ClientCertificateData == "" || s.ClientKeyData == "") {
		return time.Time{}, &pluginError{command, "it gives neither a token nor a certificate and its key"}
	}
	config.ExecProvider = nil
	if s.Token != "" {
		config.BearerToken, config.BearerTokenFile = s.Token, ""
	}
	if s.ClientCertificateData != "" {
		config.CertData, config.KeyData = []byte(s.ClientCertificateData), []byte(s.ClientKeyData)
		config.CertFile, config.KeyFile = "", ""
	}
	if s.ExpirationTimestamp != nil {
		until = s.ExpirationTimestamp.Add(-10 * time.Second)
	}
	return until, nil
}

// pluginInput returns KUBERNETES_EXEC_INFO.
func pluginInput(config *rest.Config) ([]byte, error) {
	in := clientauthentication.ExecCredential{}
	in.APIVersion, in.Kind = config.ExecProvider.APIVersion, "ExecCredential"
	if config.ExecProvider.ProvideClusterInfo {
		c, err := rest.ConfigToExecCluster(config)
		if err != nil {
			return nil, &configError{err}
		}
		in.Spec.Cluster = &clientauthentication.Cluster{
			Server: c.Server, TLSServerName: c.TLSServerName, InsecureSkipTLSVerify: c.InsecureSkipTLSVerify,
			CertificateAuthorityData: c.CertificateAuthorityData, ProxyURL: c.ProxyURL, DisableCompression: c.DisableCompression,
		}
	}
	return json.Marshal(in)
}

// runPlugin returns what the program writes to stdout. It has a session of its own, so
// that the first Ctrl-C is for sx alone.
func runPlugin(ctx context.Context, plugin *clientcmdapi.ExecConfig, info []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, pluginTime, fmt.Errorf("it did not end within %s", pluginTime))
	defer cancel()
	cmd := exec.CommandContext(ctx, plugin.Command, plugin.Args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	cmd.Env = append(os.Environ(), "KUBERNETES_EXEC_INFO="+string(info))
	for _, e := range plugin.Env {
		cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
	}
	stdout, stderr := &head{most: maxCredential}, &tail{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err := cmd.Run()
	var missing *exec.Error
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &missing):
		hint := ""
		if plugin.InstallHint != "" {
			hint = " (" + strings.Join(strings.Fields(plugin.InstallHint), " ") + ")"
		}
		return nil, fmt.Errorf("%w%s", missing.Err, hint)
	}
	return nil, fmt.Errorf("%w: %s", err, stderr.lastLine())
}

// head keeps the output of a program, and refuses more than most bytes.
type head struct {
	bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	if h.Len()+len(p) > h.most {
		return 0, fmt.Errorf("it writes more than %d bytes", h.most)
	}
	return h.Buffer.Write(p)
}

// tail keeps the end of the output of a program.
type tail struct{ text []byte }

const maxTail = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if over := len(t.text) - maxTail; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) lastLine() string {
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
