package server_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/skerry-dev/skerry/internal/testbase"
)

// boot runs Python code in gVisor with an EROFS file as its root and returns what it printed.
func boot(t *testing.T, erofs, code string) string {
	t.Helper()
	dir := t.TempDir()
	spec := specs.Spec{
		Version: "1.1.0",
		Root:    &specs.Root{Path: filepath.Join(dir, "rootfs")},
		Process: &specs.Process{
			Args: []string{"python", "-c", code}, Cwd: "/", Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
		},
		Annotations: map[string]string{
			"dev.gvisor.spec.rootfs.source": erofs, "dev.gvisor.spec.rootfs.type": "erofs", "dev.gvisor.spec.rootfs.overlay": "memory",
		},
		Linux: &specs.Linux{},
	}
	data, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(spec.Root.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), testbase.Tool(t, "runsc"), "--root="+filepath.Join(dir, "state"), "--network=none",
		"--ignore-cgroups", "run", "--bundle="+dir, filepath.Base(dir))
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("runsc: %v", err)
	}
	return string(out)
}
