package server_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	registryUser     = "reader"
	registryPassword = "correct-horse-battery"
)

// library finds shared libraries in ldd's output.
var library = regexp.MustCompile(`(/\S+) \(0x`)

// tinyImage is an image of a shell, cat, other programs of /bin, and a file with a text.
func tinyImage(t *testing.T, text string, programs ...string) v1.Image {
	t.Helper()
	files := map[string]string{}
	for _, name := range append(programs, "sh", "cat") {
		program := "/bin/" + name
		files[program[1:]] = program
		out, err := exec.CommandContext(t.Context(), "ldd", program).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range library.FindAllStringSubmatch(string(out), -1) {
			files[m[1][1:]] = m[1]
		}
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	add := func(name string, data []byte) {
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data))}), func() error { _, err := w.Write(data); return err }()); err != nil {
			t.Fatal(err)
		}
	}
	dirs := map[string]bool{}
	for to := range files {
		for dir := path.Dir(to); dir != "."; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range slices.Sorted(maps.Keys(files)) {
		data, err := os.ReadFile(files[to])
		if err != nil {
			t.Fatal(err)
		}
		add(to, data)
	}
	add("hello", []byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: goruntime.GOARCH, OS: "linux", RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Env: []string{"GREETING=hi"}, WorkingDir: "/work", Entrypoint: []string{"/bin/cat"}, Cmd: []string{"/hello"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, l); err != nil {
		t.Fatal(err)
	}
	return img
}

// serveRegistry runs a registry; with login only for those who know the password. It returns its host.
func serveRegistry(t *testing.T, login bool) string {
	t.Helper()
	inner := registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if login && (user != registryUser || password != registryPassword) {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func push(t *testing.T, reference string, img v1.Image) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: registryUser, Password: registryPassword})); err != nil {
		t.Fatal(err)
	}
}

// pullThrough is a cache of a registry that keeps what was got through it.
type pullThrough struct {
	upstream string
	mu       sync.Mutex
	kept     map[string]*httptest.ResponseRecorder
}

func (p *pullThrough) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := r.Method + " " + r.URL.Path
	res := p.kept[key]
	if res == nil {
		res = httptest.NewRecorder()
		u := &url.URL{Scheme: "http", Host: p.upstream, Path: r.URL.Path}
		out, err := http.NewRequestWithContext(r.Context(), r.Method, u.String(), nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		out.Header = r.Header.Clone()
		got, err := http.DefaultClient.Do(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer got.Body.Close()
		res.Code = got.StatusCode
		maps.Copy(res.Header(), got.Header)
		if _, err := io.Copy(res.Body, got.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		if got.StatusCode == http.StatusOK {
			p.kept[key] = res
		}
	}
	maps.Copy(w.Header(), res.Header())
	w.WriteHeader(res.Code)
	_, _ = w.Write(res.Body.Bytes()) // the client may have gone
}

// fromRegistry is a request that shows what is in an image of a registry.
func fromRegistry(reference string, variables map[string]string) build.Request {
	from := &recipe.Registry{Reference: reference}
	if variables != nil {
		from.Credentials = recipe.Static
	}
	return build.Request{NoCache: true, Secrets: map[int]map[string]string{0: variables}, Recipe: recipe.Recipe{
		Base: recipe.Base{From: from}, Steps: []recipe.Step{{Action: &recipe.RunCommands{Commands: []string{`cat /hello && echo "$GREETING from $PWD"`}}}},
	}}
}

func TestRegistryBases(t *testing.T) {
	private, open := serveRegistry(t, true), serveRegistry(t, false)
	push(t, private+"/team/app:1", tinyImage(t, "private text"))
	push(t, open+"/team/app:1", tinyImage(t, "mirrored text"))
	push(t, open+"/team/app:2", tinyImage(t, "pulled text"))
	cache := httptest.NewServer(&pullThrough{upstream: open, kept: map[string]*httptest.ResponseRecorder{}})
	defer cache.Close()
	c := config(t)
	c.RegistryMirrors = []string{"registry.invalid=" + strings.TrimPrefix(cache.URL, "http://"), "other.invalid=" + open}
	c.PlainRegistries = []string{private, open}
	var log bytes.Buffer
	logs := &syncWriter{w: &log}
	s, _ := startLogging(t, c, logs)
	good := map[string]string{"REGISTRY_USERNAME": registryUser, "REGISTRY_PASSWORD": registryPassword}

	for reference, want := range map[string]struct {
		variables map[string]string
		text      string
	}{
		private + "/team/app:1":       {good, "private text"},
		"other.invalid/team/app:1":    {nil, "mirrored text"},
		"registry.invalid/team/app:2": {nil, "pulled text"},
	} {
		rec := &recorder{t: t}
		img, err := s.Build(t.Context(), fromRegistry(reference, want.variables), rec)
		if err != nil {
			t.Errorf("%s: %v", reference, err)
			continue
		}
		if img.Env["GREETING"] != "hi" || img.Workdir != "/work" || !slices.Equal(img.Entrypoint, []string{"/bin/cat"}) || !slices.Equal(img.Cmd, []string{"/hello"}) {
			t.Errorf("%s: %+v", reference, img)
		}
		if got := strings.Join(rec.lines, "\n"); !strings.Contains(got, want.text) {
			t.Errorf("%s: said %q", reference, got)
		}
	}

	for what, c := range map[string]struct {
		reference string
		variables map[string]string
		says      string
	}{
		"no login":    {private + "/team/app:1", nil, "does not give this image without a login"},
		"wrong login": {private + "/team/app:1", map[string]string{"REGISTRY_USERNAME": registryUser, "REGISTRY_PASSWORD": "wrong-" + registryPassword}, "refuses the login of user \"reader\""},
		"no image":    {private + "/team/other:1", good, "has no such image"},
		"no registry": {"127.0.0.1:1/team/app:1", nil, "can't be reached"},
	} {
		_, err := s.Build(t.Context(), fromRegistry(c.reference, c.variables), &recorder{t: t})
		f := new(build.FailedError)
		if !errors.As(err, &f) || !strings.Contains(f.Message, c.says) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	_, err := s.Build(t.Context(), fromRegistry(private+"/team/app:1", map[string]string{"REGISTRY_USERNAME": "x"}), &recorder{t: t})
	if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "REGISTRY_PASSWORD") {
		t.Errorf("half a secret: got %v", err)
	}
	logs.mu.Lock()
	defer logs.mu.Unlock()
	if strings.Contains(log.String(), registryPassword) {
		t.Error("a password is in the log")
	}
}
