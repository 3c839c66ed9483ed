package agent

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/container"
)

// plainFolder has containers see a folder of the host where their volume would be.
type plainFolder string

func (p plainFolder) Mount(_ context.Context, _ string, mounts []container.VolumeMount) ([]container.Bind, error) {
	return []container.Bind{{Source: string(p), Target: mounts[0].Path, Writable: true, Shared: true}}, nil
}

func (p plainFolder) End(context.Context, string) error { return nil }

const measured = `
import os, time
def timed(what, n, unit, do):
    t = time.monotonic(); do(); t = time.monotonic() - t
    print("%s: %.0f %s/s" % (what, n / t, unit), flush=True)
def write():
    block = b"x" * (1 << 20)
    with open("/data/large", "wb") as f:
        for i in range(256): f.write(block)
def read():
    with open("/data/large", "rb", buffering=0) as f:
        while f.read(1 << 20): pass
def small():
    os.mkdir("/data/small")
    for i in range(2000):
        with open("/data/small/%d" % i, "w") as f: f.write("some text")
def again():
    for i in range(2000):
        with open("/data/small/%d" % i) as f: f.read()
def f():
    timed("sequential write", 256, "MiB", write)
    timed("sequential read", 256, "MiB", read)
    timed("small files written", 2000, "files", small)
    timed("small files read", 2000, "files", again)
`

// BenchmarkVolume says how fast a volume is in a container, beside a folder of the host at the same place, and what commits and reloads take
// over a store in memory.
func BenchmarkVolume(b *testing.B) {
	for range b.N {
		plain := newRigWith(b, nil, func(c *container.HostConfig) { c.Volumes = plainFolder(b.TempDir()) })
		spec := plain.spec(measured)
		spec.Volumes = []container.VolumeMount{{VolumeID: "vo-1", Path: "/data"}}
		b.Logf("plain folder:\n%s", figures(b, plain, spec))
		v := newVolumeRig(b)
		b.Logf("volume:\n%s", figures(b, v.rig, v.mounted(measured, nil)))
		for _, n := range []int{10, 10_000, 100_000} {
			commits(b, v, n)
		}
	}
}

func figures(b *testing.B, r *rig, spec container.Spec) string {
	b.Helper()
	l := r.start(b, spec)
	l.awaitReady(b)
	l.submit(0)
	if o := <-l.outputs; o.Result.Status != payload.Success {
		b.Fatalf("%+v", o.Result.Error)
	}
	l.Stop(true)
	<-l.exit
	ok(b, r.host.Wait(b.Context()))
	text, _ := r.logs.text(l.id)
	return strings.ReplaceAll(text, "out:", "  ")
}

// commits writes files on the host, which is what counts here, and has them committed and shown elsewhere.
func commits(b *testing.B, v *volumeRig, n int) {
	b.Helper()
	writer, reader := fmt.Sprintf("ta-%022d", n), fmt.Sprintf("ta-%022d", n+1)
	mount := []container.VolumeMount{{VolumeID: v.id, Path: "/data", SubPath: fmt.Sprint("n", n)}}
	at, err := v.volumes.Mount(b.Context(), writer, mount)
	ok(b, err)
	_, err = v.volumes.Mount(b.Context(), reader, mount)
	ok(b, err)
	for i := range n {
		dir := fmt.Sprintf("%s/%d", at[0].Source, i/1000)
		if i%1000 == 0 {
			ok(b, os.Mkdir(dir, 0o700))
		}
		ok(b, os.WriteFile(fmt.Sprintf("%s/%d", dir, i), []byte("some text"), 0o600))
	}
	began := time.Now()
	_, err = v.volumes.Commit(b.Context(), writer, v.id)
	ok(b, err)
	committed := time.Since(began)
	ok(b, os.WriteFile(at[0].Source+"/one", []byte("more"), 0o600))
	began = time.Now()
	_, err = v.volumes.Commit(b.Context(), writer, v.id)
	ok(b, err)
	one := time.Since(began)
	began = time.Now()
	_, err = v.volumes.Reload(b.Context(), reader, v.id)
	ok(b, err)
	b.Logf("%d files: commit %s, of one more %s, reload %s", n, committed.Round(time.Millisecond), one.Round(100*time.Microsecond),
		time.Since(began).Round(100*time.Microsecond))
	pid, err := v.volumes.Process(b.Context())
	ok(b, err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	ok(b, err)
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") {
			b.Logf("memory of the process: %s", strings.TrimSpace(strings.TrimPrefix(line, "VmRSS:")))
		}
	}
	ok(b, v.volumes.End(b.Context(), writer))
	ok(b, v.volumes.End(b.Context(), reader))
}
