package server_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
)

// holding returns the files below a folder that hold one of some texts, and how many files there are. Those that go away meanwhile are not there.
func holding(t *testing.T, dir string, texts ...[]byte) (found []string, files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !e.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EINVAL) {
			return nil // the latter is what a network namespace says that is mounted on a file
		}
		files++
		for _, text := range texts {
			if bytes.Contains(data, text) {
				found = append(found, path)
				break
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, files
}

// commandLines returns those of the host's processes.
func commandLines(t *testing.T) []byte {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, l := range lines {
		data, _ := os.ReadFile(l) // it may have ended
		all = append(all, data...)
	}
	return all
}

// TestSecretsAreInNothingThatIsKept gives secrets to steps of each kind and to a registry. Afterwards it looks for their values in all that the
// builder has: images, layers, the records of buildkitd, logs, states; and during a step in what processes were called with.
func TestSecretsAreInNothingThatIsKept(t *testing.T) {
	token, password, public := rand.Text(), registryPassword, rand.Text()
	host := serveRegistry(t, true)
	push(t, host+"/team/app:1", tinyImage(t, "text"))
	c := another(t, config(t))
	c.PlainRegistries = []string{host}
	logs := &syncWriter{w: &bytes.Buffer{}}
	s, b := startLogging(t, c, logs)

	variables := map[string]string{"TOKEN": token}
	inDockerfile := dockerfileStep("ENV KEPT="+public, `RUN test -n "$TOKEN"`)
	inDockerfile.Secrets = []string{"TOKEN"}
	request := func(last string) build.Request {
		r := onTiny(host, recipe.Step{Action: &recipe.RunCommands{Commands: []string{`test -n "$TOKEN"`}}, Secrets: []string{"TOKEN"}}, inDockerfile,
			recipe.Step{Action: &recipe.RunCommands{Commands: []string{last}}, Secrets: []string{"TOKEN"}})
		r.Recipe.Base.From.(*recipe.Registry).Credentials = recipe.Static
		r.Secrets = map[int]map[string]string{
			0: {"REGISTRY_USERNAME": registryUser, "REGISTRY_PASSWORD": password}, 1: variables, 2: variables, 3: variables,
		}
		return r
	}
	w := &watcher{recorder: recorder{t: t}, lines: make(chan string, 100)}
	ended := make(chan error, 1)
	// The step waits for as long as it takes to be looked at: it ends when its build is told to.
	looked, done := cancelable(t)
	go func() {
		_, err := s.Build(looked, request(`test -n "$TOKEN" && echo `+public+`; while :; do read x < /proc/uptime; done`), w)
		ended <- err
	}()
	select {
	case <-w.lines:
	case err := <-ended:
		t.Fatal(err)
	}
	during := commandLines(t)
	done()
	<-ended
	if !bytes.Contains(during, []byte("--root="+c.RunDir)) {
		t.Error("the step's sandbox is not among the processes")
	}
	for _, secret := range []string{token, password} {
		if bytes.Contains(during, []byte(secret)) {
			t.Errorf("a process was called with a secret: %q", secret)
		}
	}
	rec := &recorder{t: t}
	img, err := s.Build(t.Context(), request("echo "+public+" > /public; echo the end"), rec)
	if err != nil {
		t.Fatal(err)
	}
	path := b.whole(t, img.EROFS)
	var kept [][]byte
	for _, secret := range []string{token, password} {
		kept = append(kept, []byte(secret), []byte(base64.StdEncoding.EncodeToString([]byte(secret))))
	}
	kept = append(kept, []byte(base64.StdEncoding.EncodeToString([]byte(registryUser+":"+password))))
	told := logs.text() + strings.Join(rec.lines, "\n") + fmt.Sprintf("%+v %+v %+v", rec.steps, w.steps, img)
	for _, dir := range []string{c.DataDir, c.RunDir, filepath.Dir(path)} {
		// What is no secret is found, so the search sees what is there.
		if dir != c.RunDir {
			if found, _ := holding(t, dir, []byte(public)); len(found) == 0 {
				t.Errorf("the search finds nothing in %s", dir)
			}
		}
		found, files := holding(t, dir, kept...)
		if len(found) > 0 {
			t.Errorf("secrets are in %q", found)
		}
		t.Logf("%s: %d files", dir, files)
	}
	for _, text := range kept {
		if strings.Contains(told, string(text)) {
			t.Error("a secret is in the log or in what the build told")
		}
	}
}
