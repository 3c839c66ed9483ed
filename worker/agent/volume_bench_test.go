package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
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

// measured writes and reads; again reads what another container has written, and then once more.
const measured = `
import json, os, time
took = {}
def timed(what, n, do):
    t = time.monotonic(); do(); took[what] = n / (time.monotonic() - t)
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
def each():
    for i in range(2000):
        with open("/data/small/%d" % i) as f: f.read()
def f():
    timed("write", 256, write)
    timed("small_write", 2000, small)
    print(json.dumps(took))
`

var again = strings.Replace(measured, "def f():\n    timed(\"write\", 256, write)\n    timed(\"small_write\", 2000, small)", `def f():
    timed("cold_read", 256, read)
    timed("warm_read", 256, read)
    timed("small_cold_read", 2000, each)
    timed("small_warm_read", 2000, each)`, 1)

// BenchmarkVolume says how fast a volume is in a container, in MiB and files a second, beside a folder of the host at the same place, and how many
// milliseconds commits and reloads take, over a store in memory, beside cp -a of the same files.
func BenchmarkVolume(b *testing.B) {
	for range b.N {
		modules := []string{measured, again}
		folder := b.TempDir()
		plain := newRigWith(b, nil, func(c *container.HostConfig) { c.Volumes = plainFolder(folder) })
		for _, module := range modules {
			spec := plain.spec(module)
			spec.Volumes = []container.VolumeMount{{VolumeID: "vo-1", Path: "/data"}}
			figures(b, "plain_", plain, spec)
		}
		v := newVolumeRig(b) // which clears away what the first one has
		for _, module := range modules {
			figures(b, "", v.rig, v.mounted(module, nil))
		}
		counts := []int{10, 10_000}
		if os.Getenv("SKERRY_TEST_FULL") == "1" {
			counts = append(counts, 100_000)
		}
		for _, n := range counts {
			commits(b, v, n)
		}
	}
	b.ReportMetric(0, "ns/op") // not told
}

// figures reports what a module has printed.
func figures(b *testing.B, prefix string, r *rig, spec container.Spec) {
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
	var took map[string]float64
	ok(b, json.Unmarshal([]byte(strings.TrimPrefix(text, "out:")), &took))
	for name, value := range took {
		b.ReportMetric(value, prefix+name)
	}
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
	timed := func(what string, do func()) {
		began := time.Now()
		do()
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, fmt.Sprintf("%s_%d", what, n))
	}
	commit := func() {
		_, err := v.volumes.Commit(b.Context(), writer, v.id)
		ok(b, err)
	}
	timed("commit", commit)
	ok(b, os.WriteFile(at[0].Source+"/one", []byte("more"), 0o600))
	timed("commit_one_of", commit)
	timed("reload", func() {
		_, err := v.volumes.Reload(b.Context(), reader, v.id)
		ok(b, err)
	})
	plain := b.TempDir()
	ok(b, exec.CommandContext(b.Context(), "cp", "-a", at[0].Source, plain+"/first").Run())
	timed("cp", func() { ok(b, exec.CommandContext(b.Context(), "cp", "-a", plain+"/first", plain+"/second").Run()) })
	ok(b, v.volumes.End(b.Context(), writer))
	ok(b, v.volumes.End(b.Context(), reader))
}
