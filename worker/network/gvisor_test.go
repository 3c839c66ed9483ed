package network

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/skerry-dev/skerry/internal/testbase"
)

// probe is run by Python in a real sandbox: what it reaches, as JSON.
const probe = `
import errno, json, os, socket, ssl, sys, time, urllib.request
out = {}
for target in sys.argv[1:]:
    if target.startswith("http"):
        began = time.monotonic()
        try:
            context = ssl.create_default_context(cafile="/ca.pem")
            out[target] = urllib.request.urlopen(target, timeout=20, context=context).read().decode()
        except Exception as e:
            out[target] = ("closed: " if time.monotonic() - began < 10 else "hangs: ") + str(e)
        continue
    host, port = target.rsplit(":", 1)
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.settimeout(2)
    try:
        s.connect((host, int(port)))
        out[target] = s.makefile().read()
    except OSError as e:
        out[target] = "closed: " + (errno.errorcode.get(e.errno) or type(e).__name__)
    s.close()
try:
    out["name"] = socket.gethostbyname("public.example")
except OSError as e:
    out["name"] = "closed: " + str(e)
print(json.dumps(out))
`

// TestSandbox looks at the network from inside gVisor, which copies addresses and routes into a network stack of its own.
func TestSandbox(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	serveGreeting(t, threadNetns, ":"+port, "host")
	serveNames(t, w, public)
	n := startNetwork(t, nil)
	e, b, blocked := acquire(t, n, false), acquire(t, n, false), acquire(t, n, true)
	serveGreeting(t, b.NetnsPath, "0.0.0.0:"+port, "other container")
	closed := []string{private, metadata, uplinkHost, n.Nameserver().String(), n.addresses.hostEnd(n.taken[e.NetnsPath].slot).String(), b.Address, "fd00::1"}
	var targets []string
	for _, c := range append([]string{public, public2}, closed...) {
		targets = append(targets, c+":"+port)
	}

	t.Run("open", func(t *testing.T) {
		said := runProbe(t, e.NetnsPath, e.Nameserver, nil, targets)
		for _, open := range []string{public, public2} {
			if got := said[open+":"+port]; !strings.HasPrefix(got, "world") {
				t.Errorf("%s: %q", open, got)
			}
		}
		for _, c := range closed {
			if got := said[c+":"+port]; !strings.HasPrefix(got, "closed") {
				t.Errorf("%s is reached: %q", c, got)
			}
		}
		if said["name"] != public {
			t.Errorf("public.example is %q", said["name"])
		}
		t.Log(said)
	})
	t.Run("blocked", func(t *testing.T) {
		for target, got := range runProbe(t, blocked.NetnsPath, n.Nameserver().String(), nil, targets) {
			if !strings.HasPrefix(got, "closed") {
				t.Errorf("%s is reached: %q", target, got)
			}
		}
	})
}

// TestSandboxPolicy has a program in gVisor, with its own stack, go by names through the proxy.
func TestSandboxPolicy(t *testing.T) {
	w := newWebWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	n := w.start()
	p := withSecret()
	p.Domains = []string{"api.test", "other.test", "rebound.test"}
	e, err := n.AcquireWith(t.Context(), "sb-gvisor", p)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := n.CA()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"https://api.test/": public + " api.test Bearer hush-hush", "http://api.test/": public + " api.test", "https://other.test/": "closed: ", // whose certificate it doesn't trust
		"http://other.test/": public2 + " other.test", "http://rebound.test/": "closed: HTTP Error 403", "http://www.api.test/": "closed: ",
		"http://" + public: "closed: HTTP Error 403", "https://" + public: "closed: ", public + ":" + port: "world", uplinkRouter + ":" + port: "closed: ",
	}
	// The first asks for its name, which opens the address for the one with a port of its own.
	targets := append([]string{"https://api.test/"}, slices.Collect(maps.Keys(want))...)
	said := runProbe(t, e.NetnsPath, e.Nameserver, ca, targets)
	for target, text := range want {
		if !strings.HasPrefix(said[target], text) {
			t.Errorf("%s: got %q, want %q", target, said[target], text)
		}
	}
	if got := said["https://other.test/"]; !strings.Contains(got, "certificate verify failed") {
		t.Errorf("another host is not passed on unopened: %q", got)
	}
}

// runProbe runs the probe in a sandbox on a namespace.
func runProbe(t *testing.T, netns, nameserver string, ca []byte, targets []string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"probe.py": probe, "ca.pem": string(ca), "resolv.conf": "nameserver " + nameserver + "\noptions timeout:1 attempts:2\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	bind := func(name, target string) specs.Mount {
		return specs.Mount{Destination: target, Type: "bind", Source: filepath.Join(dir, name), Options: []string{"bind", "ro"}}
	}
	spec := specs.Spec{
		Version: specs.Version, Root: &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: append([]string{"/usr/bin/python3", "/probe.py"}, targets...), Cwd: "/", Env: []string{"PATH=/usr/bin"}},
		Mounts:  []specs.Mount{{Destination: "/proc", Type: "proc"}, bind("probe.py", "/probe.py"), bind("resolv.conf", "/etc/resolv.conf"), bind("ca.pem", "/ca.pem")},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.NetworkNamespace, Path: netns},
		}},
		Annotations: map[string]string{
			"dev.gvisor.spec.rootfs.source": testbase.Erofs(t), "dev.gvisor.spec.rootfs.type": "erofs", "dev.gvisor.spec.rootfs.overlay": "memory",
		},
	}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	var stderr bytes.Buffer
	cmd := exec.Command(testbase.Tool(t, "runsc"), "--root="+state, "--platform=systrap", "--network=sandbox", "--ignore-cgroups",
		"run", "--bundle", dir, "probe")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("runsc: %v: %s%s", err, out, &stderr)
	}
	if err := removeNamespace(filepath.Join(state, "null-netns")); err != nil {
		t.Error(err)
	}
	said := map[string]string{}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("probe: %v: %s", err, out)
	}
	return said
}
