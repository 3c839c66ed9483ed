package gvisor_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestNoRoom: where the disk is full nothing is kept, and the sandbox goes on.
func TestNoRoom(t *testing.T) {
	w := newWorld(t)
	p := w.params("sb-full")
	l := w.listen("sb-full")
	box, err := w.runtime.Launch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	l.accept()
	l.eval("open('/root/file', 'wb').write(os.urandom(20 << 20))")
	small := t.TempDir()
	if err := unix.Mount("none", small, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if _, err := box.SaveFiles(t.Context(), small); err == nil {
		t.Error("20 MiB of files are saved in 2 MiB")
	}
	if got := l.eval("1 + 1"); got != "2" {
		t.Error(got)
	}
	if err := box.Checkpoint(t.Context(), small, false); err == nil {
		t.Error("20 MiB and more are saved in 2 MiB")
	}
	if err := box.Nudge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.accept().eval("1 + 1"); got != "2" {
		t.Error(got)
	}
}

// TestHalted: a sandbox that a crashed process had halted goes on when it is opened.
func TestHalted(t *testing.T) {
	w := newWorld(t)
	p := w.params("sb-halted")
	l := w.listen("sb-halted")
	box, err := w.runtime.Launch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	l.accept()
	if err := box.Halt(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.open().Open("sb-halted", p.Dir); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.eval("1 + 1"); got != "2" {
		t.Error(got)
	}
}
