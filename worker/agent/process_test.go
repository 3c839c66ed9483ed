package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func killPID(t *testing.T, text string) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	ok(t, err)
	ok(t, unix.Kill(pid, unix.SIGKILL))
}

// processesOf counts live processes whose command line names a container.
func processesOf(t *testing.T, id string) int {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	ok(t, err)
	n := 0
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(data), id) {
			n++
		}
	}
	return n
}

// awaitLine waits until a container has written something.
func awaitLine(t *testing.T, b *logBook, id, want string) {
	t.Helper()
	limit := time.After(patience)
	for {
		if text, _ := b.text(id); strings.Contains(text, want) {
			return
		}
		select {
		case <-b.news:
		case <-limit:
			t.Fatalf("container %s has not written %q", id, want)
		}
	}
}
