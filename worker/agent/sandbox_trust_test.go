package agent

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
)

// TestSandboxTrustsLater gives secrets to a sandbox that runs: programs that begin from then on trust what opens HTTPS for them, in its sidecars too,
// and after a change of the worker.
func TestSandboxTrustsLater(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	child := g.worker(t, data, tools, "")
	spec := g.spec("sleep", "1000")
	spec.Definition.Network = &skerryv1.NetworkPolicy{}
	id := g.start(t, spec)
	g.await(t, id, runs)
	g.startSidecar(t, g.sidecar(id, "before"))
	const trusted = `python3 -c "
import os, ssl
names = [dict(part[0] for part in each['subject']) for each in ssl.create_default_context().get_ca_certs()]
print(sum('Skerry' in str(each) for each in names), os.environ.get('SSL_CERT_FILE'), os.environ.get('NODE_EXTRA_CA_CERTS'))"`
	const none, one = "0 None None\n", "1 /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/skerry.pem\n"
	look := func(want string, sidecars ...string) {
		t.Helper()
		if got := shell(t, g.processes(id), trusted); got != want {
			t.Errorf("the sandbox trusts %q, want %q", got, want)
		}
		for _, name := range sidecars {
			if got := shell(t, g.within(id, name), trusted); got != want {
				t.Errorf("sidecar %s trusts %q, want %q", name, got, want)
			}
		}
	}
	look(none, "before")
	update := func(rules ...*workerv1.EgressRule) {
		t.Helper()
		_, err := g.rpc.UpdateSandbox(t.Context(), connect.NewRequest(&workerv1.UpdateSandboxRequest{SandboxId: id, EgressRules: rules, SetEgressRules: true}))
		ok(t, err)
	}
	rule := &workerv1.EgressRule{Hosts: []string{"api.test"}, Header: "Authorization", Value: strings.Repeat("v", 20)}
	update(rule)
	look(one, "before")
	g.startSidecar(t, g.sidecar(id, "after"))
	update(rule) // again
	look(one, "before", "after")
	ok(t, child.Process.Kill())
	_ = child.Wait() // killed
	stop := g.inProcess(t, data, tools)
	update(rule) // values are not on the disk
	g.startSidecar(t, g.sidecar(id, "later"))
	look(one, "before", "after", "later")
	_, err := g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
	ok(t, err)
	g.await(t, id, ended)
	stop()
	nothingOf(t, id)
}
