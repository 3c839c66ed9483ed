package guest_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/guestinit/mounts"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/worker/guest"
	"github.com/skerry-dev/skerry/worker/gvisor"
)

// TestMountImage: images that are shown in a sandbox that runs, writable, replaced and taken away.
func TestMountImage(t *testing.T) {
	c, started := startSandbox(t)
	box, ok := started.(*gvisor.Sandbox)
	if !ok {
		t.Fatalf("a sandbox of %T", started)
	}
	count := 0
	sh := func(script string) string {
		t.Helper()
		count++
		id := fmt.Sprint("p", count)
		start(t, c, guest.Process{ID: id, Argv: []string{"sh", "-c", "exec 2>&1; " + script}, Env: map[string]string{"PATH": "/usr/bin:/bin"}})
		wait(t, c, id)
		out := ""
		if err := c.ReadOutput(t.Context(), id, guest.Offsets{}, func(o guest.Output) error { out += string(o.Stdout); return nil }); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	mount := func(path string) error {
		name, err := c.PrepareMount(t.Context(), path)
		if err == nil {
			err = box.Mount(t.Context(), testbase.Erofs(t), filepath.Join(mounts.Dir, name, "image"))
		}
		if err == nil {
			err = c.Bind(t.Context(), name, path, 2<<20)
		}
		return err
	}
	sh("mkdir /real && ln -s /real /linked && ln -s /proc /there")
	if err := mount("/linked/new/place"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ script, want string }{
		{"cat /real/new/place/etc/debian_version | cut -d. -f1", "12"},
		{"cd /real/new/place && echo mine > etc/debian_version && rm -r etc/apt && mkdir etc/apt && ls -A etc/apt && cat etc/debian_version", "mine"},
		{"dd if=/dev/zero of=/real/new/place/big bs=1M count=3 2>&1 | grep -o 'No space left'; rm /real/new/place/big", "No space left"},
		{"cut -d. -f1 /etc/debian_version; stat -c %a /real/new/place", "12\n755"},
		{"umount /real/new/place 2>&1 | grep -o superuser", "superuser"},
	} {
		if got := sh(step.script); got != step.want {
			t.Errorf("%s: %q, want %q", step.script, got, step.want)
		}
	}
	for _, path := range []string{"/", "//", "relative", "/proc/x", "/there/x", "/dev", "/__skerry/py", "/etc/../sys", "/etc/debian_version"} {
		if _, err := c.PrepareMount(t.Context(), path); fault.KindOf(err) != fault.Invalid {
			t.Errorf("mount at %s: %v", path, err)
		}
	}

	// Again at the same place: what was written is gone.
	if err := mount("/real/new/place"); err != nil {
		t.Fatal(err)
	}
	if got := sh("cat /real/new/place/etc/debian_version | cut -d. -f1"); got != "12" {
		t.Errorf("mounted again: %q", got)
	}
	start(t, c, guest.Process{ID: "busy", Argv: []string{"sleep", "1000"}, Workdir: "/real/new/place", Env: map[string]string{"PATH": "/usr/bin:/bin"}})
	if err := c.Unbind(t.Context(), "/linked/new/place"); fault.KindOf(err) != fault.Precondition {
		t.Errorf("unmounted while it is used: %v", err)
	}
	if err := c.SignalProcess(t.Context(), "busy", 9, false); err != nil {
		t.Fatal(err)
	}
	wait(t, c, "busy")
	if err := c.Unbind(t.Context(), "/linked/new/place"); err != nil {
		t.Error(err)
	}
	if err := c.Unbind(t.Context(), "/linked/new/place"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("unmounted twice: %v", err)
	}
	if got := sh("ls -A /real/new/place; grep -c ' /__skerry/mnt' /proc/mounts; ls -A /__skerry/mnt"); got != "1" {
		t.Errorf("left: %q", got)
	}

	// No image is an empty folder.
	if _, err := c.PrepareMount(t.Context(), "/empty"); err != nil {
		t.Fatal(err)
	}
	if err := c.Bind(t.Context(), "", "/empty", 0); err != nil {
		t.Fatal(err)
	}
	if got := sh("ls -A /empty; echo x > /empty/y; cat /empty/y; dd if=/dev/zero of=/empty/big bs=1M count=2 2>&1 | grep -o 'No space left'"); got != "x\nNo space left" {
		t.Errorf("an empty folder: %q", got)
	}
	if err := c.Bind(t.Context(), "", "/never", 0); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a place that was not prepared: %v", err)
	}
}
