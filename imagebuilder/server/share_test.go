package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/klauspost/compress/zstd"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/imagebuilder/server"
	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// notices are what builders tell a gateway of their results.
type notices struct {
	stored, bases chan string

	mu       sync.Mutex
	reported [][2]string
}

var _ build.Layers = (*notices)(nil)

func (n *notices) Store(_ context.Context, grant, bundle string) error {
	if grant != "granted" {
		return fault.New(fault.NotFound, "grant %q", grant)
	}
	n.stored <- bundle
	return nil
}

func (n *notices) StoreBase(_ context.Context, grant, bundle string) error {
	if grant != "granted" {
		return fault.New(fault.NotFound, "grant %q", grant)
	}
	n.bases <- bundle
	return nil
}

func (n *notices) Report(_ context.Context, bundle, content string) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reported = append(n.reported, [2]string{bundle, content})
	return true, nil
}

// made is a request on a small base whose first step makes something that no other run of it would, and says it.
func made(reference string, shared *build.Shared, then ...string) build.Request {
	r := build.Request{Shared: shared, Recipe: recipe.Recipe{
		Base: recipe.Base{From: &recipe.Registry{Reference: reference}}, Steps: []recipe.Step{
			{Action: &recipe.RunCommands{Commands: []string{`read x < /proc/sys/kernel/random/uuid; echo "$x" > /made; cat /made`}}},
		},
	}}
	for _, c := range then {
		r.Recipe.Steps = append(r.Recipe.Steps, recipe.Step{Action: &recipe.RunCommands{Commands: []string{c}}})
	}
	return r
}

// TestBuildersShareResultsThroughTheBlobStore has one builder make an image, and others that have nothing but the blob store begin with it.
func TestBuildersShareResultsThroughTheBlobStore(t *testing.T) {
	host := serveRegistry(t, false)
	push(t, host+"/team/app:1", tinyImage(t, "text"))
	store := newBlobs(t)
	n := &notices{stored: make(chan string, 10)}
	begin := func(log *syncWriter) *server.Server {
		c := another(t, config(t))
		c.PlainRegistries, c.Layers = []string{host}, n
		return startOn(t, c, store, log)
	}
	const reference = "/team/app:1"
	const size = 1 << 30
	first, second := begin(&syncWriter{w: t.Output()}), begin(&syncWriter{w: t.Output()})

	// Nothing is shared with a build that is not told so.
	alone := &recorder{t: t}
	if _, err := first.Build(t.Context(), made(host+reference, nil), alone); err != nil {
		t.Fatal(err)
	}
	r := made(host+reference, &build.Shared{Grant: "granted", MaxBytes: size}, "echo $KEY > /dev/null; echo two > /two")
	r.Recipe.Steps[1].Secrets = []string{"KEY"}
	r.Secrets = map[int]map[string]string{2: {"KEY": "hunter2-correct-horse"}}
	one := &recorder{t: t}
	if _, err := first.Build(t.Context(), r, one); err != nil {
		t.Fatal(err)
	}
	bundle := <-n.stored
	if len(one.lines) != 0 || len(alone.lines) != 1 {
		t.Errorf("lines %q, %q", alone.lines, one.lines)
	}
	checkSecrets(t, store, bundle, "hunter2-correct-horse")

	// The second builder has an empty disk. Of a longer recipe it runs what is new alone.
	longer := made(host+reference, &build.Shared{Bundles: []string{bundle}, Grant: "granted", MaxBytes: size}, "echo $KEY > /dev/null; echo two > /two", "cat /made /two")
	longer.Recipe.Steps[1].Secrets, longer.Secrets = r.Recipe.Steps[1].Secrets, r.Secrets
	rec := &recorder{t: t}
	if _, err := second.Build(t.Context(), longer, rec); err != nil {
		t.Fatal(err)
	}
	if want := []string{alone.lines[0], "two"}; !slices.Equal(rec.lines, want) {
		t.Errorf("said %q, want %q of the last step alone", rec.lines, want)
	}
	if rec.last("read x") != build.Cached || rec.last("echo $KEY") != build.Cached || rec.last("cat /made") != build.Done {
		t.Errorf("steps %v", rec.steps)
	}
	again := <-n.stored
	if again == bundle {
		t.Error("the longer recipe's results are the shorter one's")
	}
	// The same image again: nothing was run, so nothing is given.
	r.Shared = &build.Shared{Bundles: []string{bundle}, Known: true, Grant: "granted", MaxBytes: size}
	rec = &recorder{t: t}
	if _, err := second.Build(t.Context(), r, rec); err != nil {
		t.Fatal(err)
	}
	if len(rec.lines) != 0 {
		t.Errorf("said %q, want nothing", rec.lines)
	}
	if len(n.stored) != 0 {
		t.Error("results were given that others had")
	}

	// A builder that needs a damaged layer builds again, and says so.
	for _, largest := range []bool{false, true} {
		broken := layer(t, store, bundle, largest)
		repair := damage(t, store, bundle, broken)
		var log bytes.Buffer
		logs := &syncWriter{w: &log}
		third := begin(logs)
		rec = &recorder{t: t}
		r.Shared = &build.Shared{Bundles: []string{bundle}, Grant: "granted", MaxBytes: size}
		if _, err := third.Build(t.Context(), r, rec); err != nil {
			t.Fatal(err)
		}
		<-n.stored
		if got := n.last(); got != [2]string{bundle, broken} {
			t.Errorf("reported %q, want %q", got, broken)
		}
		if !strings.Contains(logs.text(), "results of other builders can't be read, and are made again") {
			t.Errorf("the log does not say that results were damaged:\n%s", logs.text())
		}
		repair()
	}
}

// last is what was reported last.
func (n *notices) last() [2]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reported[len(n.reported)-1]
}

// tinyBase is a folder of bases with a small image as the one that has Python 3.11.
func tinyBase(t *testing.T) string {
	t.Helper()
	img := tinyImage(t, "text")
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "bookworm-python3.11-r2")
	p, err := layout.Write(name, empty.Index)
	if err == nil {
		err = p.AppendImage(img)
	}
	record := fmt.Sprintf(`{"name": "tiny base", "digest": %q, "env": {"PATH": "/bin"}, "made": 1}`, digest)
	if err := errors.Join(err, os.WriteFile(filepath.Join(name, "skerry-base.json"), []byte(record), 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestBuildersStartFromTheSameBase has a builder that has no base, and could make none, find that of another, and what was made on it.
func TestBuildersStartFromTheSameBase(t *testing.T) {
	store := newBlobs(t)
	n := &notices{stored: make(chan string, 10), bases: make(chan string, 10)}
	shared := &build.Shared{Grant: "granted", MaxBytes: 1 << 30}
	request := build.Request{Shared: shared, Recipe: slim(recipe.Step{Action: &recipe.RunCommands{Commands: []string{"read x < /proc/sys/kernel/random/uuid; echo $x"}}})}
	c := another(t, config(t))
	c.Layers, c.BaseDir = n, tinyBase(t)
	first := startOn(t, c, store, t.Output())
	if _, err := first.Build(t.Context(), request, &recorder{t: t}); err != nil {
		t.Fatal(err)
	}
	shared.Base, shared.Bundles = <-n.bases, []string{<-n.stored}
	request.Recipe.Steps = append(request.Recipe.Steps, recipe.Step{Action: &recipe.RunCommands{Commands: []string{"exit 3"}}})
	rec := &recorder{t: t}
	c = another(t, config(t))
	c.Layers, c.BaseDir, c.Mirror = n, t.TempDir(), "http://127.0.0.1:1"
	_, err := startOn(t, c, store, t.Output()).Build(t.Context(), request, rec)
	if f := new(build.FailedError); !errors.As(err, &f) || f.ExitCode != 3 || rec.last("read x") != build.Cached {
		t.Errorf("got %v, steps %v", err, rec.steps)
	}
	if len(n.bases) != 0 {
		t.Error("a base was given back")
	}
	// One that is damaged is reported, and the builder starts from its own.
	root := bundleOf(t, store, shared.Base).Root
	damage(t, store, shared.Base, root)
	_, err = first.Build(t.Context(), request, &recorder{t: t})
	if f := new(build.FailedError); !errors.As(err, &f) || f.ExitCode != 3 {
		t.Errorf("got %v", err)
	}
	if got := n.last(); got != [2]string{shared.Base, root} {
		t.Errorf("reported %q", got)
	}
}

// checkSecrets looks for a secret in all that a bundle holds.
func checkSecrets(t *testing.T, store blobs, bundle, secret string) {
	t.Helper()
	for name, data := range contents(t, store, bundle) {
		if d, err := zstd.NewReader(bytes.NewReader(data)); err == nil {
			var plain bytes.Buffer
			if _, err := plain.ReadFrom(d); err == nil {
				data = plain.Bytes()
			}
			d.Close()
		}
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the secret is in %s", name)
		}
	}
}

// bundleOf reads a bundle.
func bundleOf(t *testing.T, store blobs, digest string) *cas.Bundle {
	t.Helper()
	data, err := store.ReadAll(t.Context(), digest, cas.MaxBundle)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cas.DecodeBundle(data)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// contents are those of a bundle by their digests.
func contents(t *testing.T, store blobs, bundle string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, f := range bundleOf(t, store, bundle).Files {
		m, err := cas.Load(t.Context(), store, f.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		if err := cas.Copy(t.Context(), store, m, &content); err != nil {
			t.Fatal(err)
		}
		out[f.Content] = content.Bytes()
	}
	return out
}

// layer returns the smallest layer of a bundle, which is a step's, or the largest, which is the base's.
func layer(t *testing.T, store blobs, bundle string, largest bool) (name string) {
	t.Helper()
	all := contents(t, store, bundle)
	for n, data := range all {
		if bytes.HasPrefix(data, []byte{0x28, 0xb5, 0x2f, 0xfd}) && (name == "" || len(data) < len(all[name]) != largest) {
			name = n
		}
	}
	return name
}

// damage changes a bit of a content of a bundle, and returns what undoes that.
func damage(t *testing.T, store blobs, bundle, content string) (repair func()) {
	t.Helper()
	files := bundleOf(t, store, bundle).Files
	i := slices.IndexFunc(files, func(f cas.File) bool { return f.Content == content })
	m, err := cas.Load(t.Context(), store, files[i].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	path, ok := store.LocalPath(m.Chunks[0].Digest)
	if !ok {
		t.Fatal("no such chunk")
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(chunk []byte) {
		if err := os.WriteFile(path, chunk, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	chunk := bytes.Clone(whole)
	chunk[len(chunk)/2] ^= 1
	write(chunk)
	return func() { write(whole) }
}
