package gvisor

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/pidfd"
)

// What tells gVisor which sandbox a container belongs to, and what is its own of what is saved.
const (
	criType    = "io.kubernetes.cri.container-type"
	criName    = "io.kubernetes.cri.container-name"
	criSandbox = "io.kubernetes.cri.sandbox-id"
	// mainName is the name of containers that have none.
	mainName = "main"
)

// Boot boots a sandbox that has no image yet: its one process sleeps. Add gives it containers. Of the parameters it takes ID, Dir, NetnsPath,
// Hostname and the limits; all containers are within them. Nothing is left behind when it fails or ctx ends.
func (r *Runtime) Boot(ctx context.Context, p container.SandboxParams) (*Sandbox, error) {
	p, spec, err := r.emptySpec(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", p.ID, err)
	}
	return r.start(ctx, p, spec, "run", "--detach")
}

// emptySpec describes a sandbox without an image; the parameters that come back are those it is started with.
func (r *Runtime) emptySpec(ctx context.Context, p container.SandboxParams) (container.SandboxParams, *specs.Spec, error) {
	image, err := r.pauseImage(ctx)
	if err != nil {
		return p, nil, err
	}
	p.Image, p.Argv, p.Binds, p.DiskDir = image, []string{"/pause"}, nil, p.Dir
	spec := r.rootSpec(p)
	spec.Annotations[criType], spec.Annotations[criName] = "sandbox", "empty"
	delete(spec.Annotations, rootfs+"overlay")
	delete(spec.Annotations, rootfs+"options")
	spec.Root.Readonly = true
	spec.Mounts = []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}}
	spec.Process.Capabilities = &specs.LinuxCapabilities{}
	return p, spec, nil
}

// Container is a container in a sandbox, added after its boot. It is safe for concurrent use.
type Container struct {
	place
	box     *pidfd.Process // of the sandbox
	deleted sync.Once
	err     error
}

// innerID is the name by which runsc knows a container that was added. It also takes beginnings of names, so none may begin with another.
func innerID(id string) string { return "in-" + id + "." }

// Add starts a container in the sandbox, which is one that Boot or Start has booted: a warm sandbox's only one, or a sidecar. It shares the
// sandbox's network, host name, limits and end; its processes, files and writable layer are its own. Of the parameters it takes ID, Name, Dir, Image,
// DiskDir, DiskMiB, Argv and Binds. Nothing is left behind when it fails or ctx ends. Errors: fault.Unavailable if the sandbox has ended.
func (s *Sandbox) Add(ctx context.Context, p container.SandboxParams) (*Container, error) {
	return s.add(ctx, p, "run", "--detach")
}

// sharing are the flags for a container of which others change mounts. gVisor takes annotations about mounts from a sandbox's first container
// only, so that for one that is added it is all of its mounts or none that are looked up again.
func sharing(p container.SandboxParams) []string {
	if slices.ContainsFunc(p.Binds, func(b container.Bind) bool { return b.Shared }) {
		return []string{"--file-access-mounts=shared"}
	}
	return nil
}

// add makes a container in the sandbox by a command of runsc.
func (s *Sandbox) add(ctx context.Context, p container.SandboxParams, command ...string) (*Container, error) {
	spec := imageSpec(p)
	spec.Annotations[criType], spec.Annotations[criSandbox] = "container", s.sandbox
	setApart(spec)
	if err := writeBundle(p.Dir, spec); err != nil {
		return nil, fmt.Errorf("container %q: %w", p.ID, err)
	}
	c := s.Container(p.ID, p.Name)
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	undo.Add(func() {
		ctx, cancel := lifecycle.Detach(ctx, DeleteTimeout)
		defer cancel()
		_ = c.remove(ctx) // the start's own error says more
	})
	// The process that serves its binds begins in the sandbox's groups.
	entering := s.runtime.cfg.Cgroups.Joining(s.sandbox)
	if err := s.runtime.make(ctx, c.id, p, entering, append([]string{"--ignore-cgroups"}, sharing(p)...), command); err != nil {
		if !s.process.Running() {
			return nil, fault.New(fault.Unavailable, "container %q: sandbox %q has ended", p.ID, s.sandbox)
		}
		return nil, fmt.Errorf("container %q: %w", p.ID, err)
	}
	undo.Release()
	return c, nil
}

// Container is one that this process or an earlier one has added to the sandbox under that id and name; nothing is checked.
func (s *Sandbox) Container(id, name string) *Container {
	return &Container{place: place{s.runtime, s.sandbox, innerID(id), cmp.Or(name, mainName)}, box: s.process}
}

// Nudge is as that of a sandbox. Errors: fault.NotFound if the container is gone, fault.Unavailable if the sandbox is.
func (c *Container) Nudge(ctx context.Context) error {
	err := c.place.Nudge(ctx)
	var refused *refusal
	if errors.As(err, &refused) { // signals go to PID 1, which is there as long as the container is
		return fault.New(fault.NotFound, "container %q: %w", c.id, err)
	}
	return err
}

// Wait returns nil when the container's PID 1 has ended, or the container is not there. Errors: fault.Unavailable if the sandbox is gone.
func (c *Container) Wait(ctx context.Context) error {
	err := c.runtime.call(ctx, c.sandbox, methodWait, c.id)
	var refused *refusal
	if errors.As(err, &refused) { // the sentry knows no container that could be waited for
		return nil
	}
	return err
}

// Delete kills the container and removes it; the sandbox goes on. It works once; later calls return the first result. That of
// a sandbox that has ended goes with the sandbox.
func (c *Container) Delete(ctx context.Context) error {
	c.deleted.Do(func() { c.err = c.remove(ctx) })
	return c.err
}

func (c *Container) remove(ctx context.Context) error {
	if err := c.giveUp(); err != nil {
		return err
	}
	out, err := c.runtime.command(ctx, "delete", "--force", c.id).CombinedOutput()
	if err != nil && c.box.Running() {
		return fmt.Errorf("container %q: runsc delete: %w: %s", c.id, err, bytes.TrimSpace(out))
	}
	return nil
}

// giveUp ends a start of the container that an earlier process of the instance was killed in.
func (c *Container) giveUp() error {
	pids, err := c.runtime.cfg.Cgroups.Processes(c.sandbox)
	if err != nil {
		return fmt.Errorf("container %q: %w", c.id, err)
	}
	for _, pid := range pids {
		p, err := pidfd.Watch(pid) // before it is looked at, so that its number is not another's by then
		if err != nil {
			return fmt.Errorf("container %q: %w", c.id, err)
		}
		if words := commandLine(pid); len(words) > 0 && words[len(words)-1] == c.id && slices.Contains(words, "run") {
			err = p.Kill()
		}
		p.Release()
		if err != nil {
			return fmt.Errorf("container %q: %w", c.id, err)
		}
	}
	return nil
}

// commandLine is that of a process; nil for one that has ended.
func commandLine(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
}

// pauseImage makes the file system of sandboxes without an image, once per instance: a program of a few bytes that sleeps.
func (r *Runtime) pauseImage(ctx context.Context) (string, error) {
	r.pause.Lock()
	defer r.pause.Unlock()
	path := filepath.Join(r.cfg.StateDir, "pause.erofs")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	f, err := os.CreateTemp(r.cfg.StateDir, "pause-")
	if err != nil {
		return "", fmt.Errorf("empty image: %w", err)
	}
	defer f.Close()
	var files bytes.Buffer
	if err = pauseTar(&files); err == nil {
		err = erofs.FromTar(ctx, &files, f)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("empty image: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return path, nil
}

func pauseTar(w *bytes.Buffer) error {
	program := sleeper()
	t := tar.NewWriter(w)
	for _, h := range []tar.Header{
		{Name: "proc/", Typeflag: tar.TypeDir, Mode: 0o555}, {Name: "dev/", Typeflag: tar.TypeDir, Mode: 0o555}, {Name: "sys/", Typeflag: tar.TypeDir, Mode: 0o555},
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, {Name: "pause", Typeflag: tar.TypeReg, Mode: 0o555, Size: int64(len(program))},
	} {
		if err := t.WriteHeader(&h); err != nil {
			return err
		}
	}
	_, err := t.Write(program)
	return errors.Join(err, t.Close())
}

// sleeper is a static program that waits for signals for ever: a header, one segment, a system call and a jump back to it. It takes no
// memory to speak of, where one in Go would have a heap and threads.
func sleeper() []byte {
	const header, base = 64 + 56, 0x400000
	machine, code := uint16(62), []byte{0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7} // x86-64: mov eax, pause; syscall; jmp back
	if runtime.GOARCH == "arm64" {
		machine, code = 183, nil
		for _, word := range []uint32{
			0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800000 | unix.SYS_PPOLL<<5&0x1fffe0 | 8, // x0 to x3 = 0, x8 = ppoll
			0xd4000001, 0x17fffffa, // svc 0; back to the first
		} {
			code = binary.LittleEndian.AppendUint32(code, word)
		}
	}
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = le.AppendUint16(b, 2) // an executable
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+header) // where it begins
	b = le.AppendUint64(b, 64)          // program headers
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	size := uint64(header + len(code))
	b = le.AppendUint32(b, 1) // load
	b = le.AppendUint32(b, 5) // readable, executable
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...)
}
