package agent

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	workerv1 "github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/worker/v1/workerv1connect"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/voltree"
)

// newVolume is a volume of the gateway's.
func (g *sandboxGateway) newVolume(t *testing.T) string {
	t.Helper()
	id := ident.New(ident.Volume)
	_, err := g.shelf.Change(t.Context(), id, nil)
	ok(t, err)
	return id
}

// reload has a sandbox, or a sidecar of it, see the newest versions.
func (g *sandboxGateway) reload(t *testing.T, id, sidecar string) error {
	t.Helper()
	mounted := workerv1connect.NewMountedVolumeServiceClient(g.control.HTTPClient(), link.BaseURL)
	_, err := mounted.ReloadMounted(t.Context(), connect.NewRequest(&workerv1.ReloadMountedRequest{ContainerId: id, Sidecar: sidecar}))
	return err
}

// withVolumes starts a sandbox that has one volume at /both, and the request for a sidecar that has it as well, and another at /own.
func (g *sandboxGateway) withVolumes(t *testing.T, both, own string) (id string, side *workerv1.StartSidecarRequest) {
	t.Helper()
	spec := g.spec("sleep", "1000")
	spec.Definition.VolumeMounts = []*skerryv1.VolumeMount{{MountPath: "/both", VolumeId: both}}
	id = g.start(t, spec)
	g.await(t, id, runs)
	side = g.sidecar(id, "side")
	side.Definition.VolumeMounts = []*skerryv1.VolumeMount{
		{MountPath: "/there", VolumeId: both}, {MountPath: "/own", VolumeId: own, SubPath: "part"},
	}
	return id, side
}

// TestSidecarVolumes has a sidecar see the volumes of its sandbox as that does, and have others of its own, all committed at its end.
func TestSidecarVolumes(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	stop := g.inProcess(t, data, tools)
	defer stop()
	both, own := g.newVolume(t), g.newVolume(t)
	id, req := g.withVolumes(t, both, own)
	side := g.startSidecar(t, req)
	main, in := g.processes(id), g.within(id, "side")
	if got := shell(t, in, "echo there > /there/a; echo own > /own/b; cat /there/a /own/b"); got != "there\nown\n" {
		t.Fatalf("the sidecar says %q", got)
	}
	if got := shell(t, main, "cat /both/a; echo here > /both/a; ls /own"); !strings.HasPrefix(got, "there\nls: ") {
		t.Errorf("the sandbox says %q", got)
	}
	if got := shell(t, in, "cat /there/a"); got != "here\n" {
		t.Errorf("the sidecar says %q after a change", got)
	}
	// Whoever sees a volume through the same mount can have files open in it.
	const hold = "exec 3< "
	holding := func(where *skerryv1.StartProcessRequest, sidecar bool) func() {
		p := main
		if sidecar {
			p = in
		}
		next := startProcess(t, p, where)
		for line := ""; !strings.Contains(line, "open"); {
			m, err := next()
			ok(t, err)
			line = string(m.GetOutput().GetStdout())
		}
		return func() {
			_, err := p.WriteProcessInput(t.Context(), connect.NewRequest(&skerryv1.WriteProcessInputRequest{ProcessId: where.GetProcessId(), Data: []byte("go\n")}))
			ok(t, err)
			for ended := false; !ended; {
				m, err := next()
				ok(t, err)
				ended = m.GetExited() != nil
			}
		}
	}
	for _, c := range []struct {
		file, in           string // of the file that is open, and where
		refused, unrelated []string
	}{
		{"/both/a", "", []string{"", "side"}, nil},
		{"/there/a", "side", []string{"", "side"}, nil},
		{"/own/b", "side", []string{"side"}, []string{""}},
	} {
		release := holding(&skerryv1.StartProcessRequest{
			ProcessId: ident.Random(8), Argv: []string{"sh", "-c", hold + c.file + "; echo open; read go"}, Stdin: true,
		}, c.in != "")
		for _, of := range c.refused {
			if err := g.reload(t, id, of); connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "path "+c.file+" is open from 'sh -c exec") {
				t.Errorf("%s is open, reload of %q: %v", c.file, of, err)
			}
		}
		for _, of := range c.unrelated {
			ok(t, g.reload(t, id, of))
		}
		release()
		for _, of := range []string{"", "side"} {
			ok(t, g.reload(t, id, of))
		}
	}
	if got := g.shelf.Text(t, both, "a") + g.shelf.Text(t, own, "part/b"); got != "here\nown\n" {
		t.Errorf("committed by the reload: %q", got)
	}
	for volumeID, path := range map[string]string{both: "new", own: "part/new"} { // what others commit
		_, err := g.shelf.Change(t.Context(), volumeID, []voltree.Change{{Verb: voltree.Put, Path: path, Entry: voltree.Entry{Type: voltree.Folder, Mode: 0o755}}})
		ok(t, err)
	}
	const list = "ls /there /own"
	if got := shell(t, in, list); got != "/own:\nb\n\n/there:\na\n" {
		t.Errorf("before a reload: %q", got)
	}
	ok(t, g.reload(t, id, "side"))
	if got := shell(t, in, list) + shell(t, main, "ls /both"); got != "/own:\nb\nnew\n\n/there:\na\nnew\na\nnew\n" {
		t.Errorf("after a reload: %q", got)
	}
	if err := g.reload(t, id, "none"); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("reload of none: %v", err)
	}
	shell(t, in, "echo last > /there/a; echo last > /own/b")
	g.stopSidecar(t, id, "side")
	g.waitSidecar(t, id, "side", patience)
	if got := g.shelf.Text(t, both, "a") + g.shelf.Text(t, own, "part/b"); got != "last\nlast\n" {
		t.Errorf("committed at its end: %q", got)
	}
	if err := g.reload(t, id, "side"); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("reload of one that has ended: %v", err)
	}
	if got := shell(t, main, "echo on >> /both/a; cat /both/a"); got != "last\non\n" {
		t.Errorf("the sandbox says %q", got)
	}
	missing := g.sidecar(id, "side")
	missing.Definition.VolumeMounts = []*skerryv1.VolumeMount{{MountPath: "/own", VolumeId: ident.New(ident.Volume)}}
	g.startSidecar(t, missing)
	if s := g.waitSidecar(t, id, "side", patience); s.GetEnd().GetReason() != skerryv1.SandboxEndReason_SANDBOX_END_REASON_START_FAILED {
		t.Errorf("with a volume that is not there: %v", s)
	}
	_, err := g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
	ok(t, err)
	g.await(t, id, ended)
	if got := g.shelf.Text(t, both, "a"); got != "last\non\n" {
		t.Errorf("at the sandbox's end: %q", got)
	}
	stop()
	nothingOf(t, id, side)
}

// TestSidecarVolumesOutliveWorker kills a worker while a sidecar has volumes: the next one goes on with them, and commits them.
func TestSidecarVolumesOutliveWorker(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	both, own := g.newVolume(t), g.newVolume(t)
	child := g.worker(t, data, tools, "")
	id, req := g.withVolumes(t, both, own)
	side := g.startSidecar(t, req)
	shell(t, g.within(id, "side"), "echo one > /there/a; echo one > /own/b")
	ok(t, child.Process.Kill())
	_ = child.Wait() // killed
	child = g.worker(t, data, tools, "")
	if got := shell(t, g.within(id, "side"), "cat /there/a /own/b; echo two > /own/b"); got != "one\none\n" {
		t.Errorf("after a kill: %q", got)
	}
	ok(t, g.reload(t, id, "side"))
	if got := g.shelf.Text(t, both, "a") + g.shelf.Text(t, own, "part/b"); got != "one\ntwo\n" {
		t.Errorf("committed: %q", got)
	}
	shell(t, g.within(id, "side"), "echo three > /there/a; echo three > /own/b")
	ok(t, child.Process.Kill())
	_ = child.Wait() // killed
	stop := g.inProcess(t, data, tools)
	_, err := g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
	ok(t, err)
	g.await(t, id, ended)
	if got := g.shelf.Text(t, both, "a") + g.shelf.Text(t, own, "part/b"); got != "three\nthree\n" {
		t.Errorf("at the end: %q", got)
	}
	stop()
	nothingOf(t, id, side)
}

// TestSidecarVolumesKilledWorker kills a worker at each step of the start and end of a sidecar with volumes: nothing of them is left mounted.
func TestSidecarVolumesKilledWorker(t *testing.T) {
	g, data, tools := newSandboxGateway(t)
	for _, step := range []string{"adding", "added", "sidecar linked", "sidecar ends", "sidecar gone"} {
		t.Run(step, func(t *testing.T) {
			both, own := g.newVolume(t), g.newVolume(t)
			child := g.worker(t, data, tools, step)
			id, req := g.withVolumes(t, both, own)
			_, err := g.states.StartSidecar(t.Context(), connect.NewRequest(req))
			if err != nil && connect.CodeOf(err) != connect.CodeUnavailable { // it may be killed before it answers
				t.Fatal(err)
			}
			wrote := strings.HasSuffix(step, "ends") || strings.HasSuffix(step, "gone")
			if wrote {
				shell(t, g.within(id, "side"), "echo one > /there/a; echo one > /own/b")
				g.stopSidecar(t, id, "side")
			}
			if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Fatalf("the worker ended: %v", err)
			}
			stop := g.inProcess(t, data, tools)
			defer stop()
			g.waitSidecar(t, id, "side", patience)
			first := req.GetSidecarId()
			req.SidecarId = ident.New(ident.Sidecar)
			again := g.startSidecar(t, req)
			want := "none\n"
			if wrote {
				want = "one\n"
			}
			if got := shell(t, g.within(id, "side"), "cat /there/a 2>/dev/null || echo none"); got != want {
				t.Errorf("the next one finds %q", got)
			}
			_, err = g.rpc.StopSandbox(t.Context(), connect.NewRequest(&workerv1.StopSandboxRequest{SandboxId: id}))
			ok(t, err)
			g.await(t, id, ended)
			if got := g.shelf.Text(t, both, "a") + g.shelf.Text(t, own, "part/b"); wrote && got != "one\none\n" {
				t.Errorf("committed: %q", got)
			}
			stop()
			nothingOf(t, id, first, again)
		})
	}
}
