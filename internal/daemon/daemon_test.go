package daemon

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/fault"
)

func TestProfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".skerry.toml")
	read := func() map[string]map[string]any {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var profiles map[string]map[string]any
		if err := toml.Unmarshal(text, &profiles); err != nil {
			t.Fatal(err)
		}
		return profiles
	}
	if err := writeProfile(path, "local", "http://127.0.0.1:1", identity.Credential{ID: "tk-1", Secret: "s1"}); err != nil {
		t.Fatal(err)
	}
	first := read()["local"]
	if first["active"] != true || first["server_url"] != "http://127.0.0.1:1" || first["token_id"] != "tk-1" || first["token_secret"] != "s1" {
		t.Errorf("profile = %v", first)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v", st.Mode(), err)
	}
	text := "[work]\nactive = true\nserver_url = \"https://skerry.example\"\nloglevel = \"DEBUG\"\n[local]\nenvironment = \"main\"\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeProfile(path, "local", "http://127.0.0.1:2", identity.Credential{ID: "tk-2", Secret: "s2"}); err != nil {
		t.Fatal(err)
	}
	p := read()
	if p["work"]["loglevel"] != "DEBUG" || p["work"]["active"] != true {
		t.Errorf("another profile became %v", p["work"])
	}
	if _, active := p["local"]["active"]; active || p["local"]["environment"] != "main" || p["local"]["token_id"] != "tk-2" {
		t.Errorf("local = %v", p["local"])
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v", st.Mode(), err)
	}
	for _, bad := range []string{"not toml", "stray = 1"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := writeProfile(path, "local", "", identity.Credential{}); !errors.Is(err, fault.Invalid) {
			t.Errorf("over %q: %v", bad, err)
		}
		if left, err := os.ReadFile(path); err != nil || string(left) != bad {
			t.Errorf("the file became %q, %v", left, err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "skerryd.pid")
	if pidfd, _, err := running(path); pidfd >= 0 || err != nil {
		t.Errorf("without a file: %d, %v", pidfd, err)
	}
	lock, err := lockPID(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockPID(path)
	if !errors.Is(err, fault.Exists) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) || !strings.Contains(err.Error(), "skerryd down") {
		t.Errorf("second lock: %v", err)
	}
	pidfd, pid, err := running(path)
	if err != nil || pidfd < 0 || pid != os.Getpid() {
		t.Errorf("running = %d, %d, %v", pidfd, pid, err)
	}
	if err := unix.Close(pidfd); err != nil {
		t.Error(err)
	}
	if err := lock.release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the release: %v", err)
	}
	// What a killed process leaves: a file without a lock, and perhaps with the id of somebody else.
	if err := os.WriteFile(path, []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if pidfd, _, err := running(path); pidfd >= 0 || err != nil {
		t.Errorf("with a file of the dead: %d, %v", pidfd, err)
	}
	lock, err = lockPID(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.release(); err != nil {
		t.Error(err)
	}
}

func TestCommandLine(t *testing.T) {
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		root := newRoot(&out, &out)
		root.SetArgs(args)
		err := root.ExecuteContext(t.Context())
		return out.String(), err
	}
	if out, err := run("version"); err != nil || out != "skerryd "+Version+"\n" {
		t.Errorf("version: %q, %v", out, err)
	}
	for _, args := range [][]string{{"up", "--nonsense"}, {"down", "--timeout", "soon"}} {
		if _, err := run(args...); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "--help") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if out, err := run("down", "--data", t.TempDir()); err != nil || !strings.Contains(out, "no skerryd runs") {
		t.Errorf("down: %q, %v", out, err)
	}
	if _, err := run("token", "new", "--data", t.TempDir()); !errors.Is(err, fault.Precondition) {
		t.Errorf("token new without a gateway: %v", err)
	}
	for _, args := range [][]string{{"--help"}, {"up", "--help"}, {"down", "--help"}, {"doctor", "--help"}, {"token", "new", "--help"}, {"base", "prepare", "--help"}} {
		if out, err := run(args...); err != nil || len(out) < 200 {
			t.Errorf("%v: %q, %v", args, out, err)
		}
	}
	if args := foregroundArgs([]string{"up", "--detach", "-d", "--data", "x"}); strings.Join(args, " ") != "up --data x" {
		t.Errorf("foregroundArgs = %v", args)
	}
}

func TestDoctorSaysWhatToDo(t *testing.T) {
	var out bytes.Buffer
	c := &command{out: &out}
	findings := []finding{{name: "root", detail: "user 0"}, {name: "disk", detail: "small", fix: "free some", state: advice}}
	if err := c.show(findings); err != nil || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	err := c.show(append(findings, verdict("runsc", false, "not found", "run: make build")))
	if !errors.Is(err, errReported) || !strings.Contains(out.String(), "-> run: make build") || !strings.Contains(out.String(), "1 of 3 are missing") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestMemoryIsInNoCoreDump(t *testing.T) {
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }) // as it was for the tests that follow
	if err := closeMemory(); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || n != 0 {
		t.Errorf("dumpable is %d, %v", n, err)
	}
}
