package lazyfs

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestCopiesOfMounts takes a mount down though a process has a copy of it in a mount namespace of its own, as sandboxes have of the mounts that
// were there when they began.
func TestCopiesOfMounts(t *testing.T) {
	r := newRig(t, 4, nil)
	_, release, err := r.Open(t.Context(), r.image)
	if err != nil {
		t.Fatal(err)
	}
	other := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 1000")
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	mounts := filepath.Join("/proc", strconv.Itoa(other.Process.Pid), "mounts")
	if text, err := os.ReadFile(mounts); err != nil || !strings.Contains(string(text), r.cfg.Dir) {
		t.Fatalf("the other process has no copy of the mount: %v", err)
	}
	release()
	r.close()
	if text, err := os.ReadFile(mounts); err != nil || strings.Contains(string(text), r.cfg.Dir) {
		t.Errorf("the other process still has it: %v", err)
	}
}
