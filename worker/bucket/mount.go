package bucket

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/bucketfs/protocol"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/pidfd"
)

// Bounds of a mount's life.
const (
	// StartTimeout bounds a start; asking the bucket's server has a shorter one.
	StartTimeout = time.Minute
	// endTimeout is how long a process may take to end when its mount is gone.
	endTimeout = 5 * time.Second
	// firstUser is the lowest of the users that processes run as; no others have such numbers by custom.
	firstUser = 1 << 30
	users     = 1 << 24
)

// mount is one bucket that is mounted, or is being mounted.
type mount struct {
	id, dir, cache string
	started        chan struct{} // closed when it is mounted or err is there
	lost           chan struct{} // closed when its process has ended by itself
	err            error
	process        *pidfd.Process
	endpoint       *container.Endpoint // nil: the host's own network

	// These are guarded by Store.mu.
	refs   int
	ending bool
}

func (s *Store) newMount(id string) *mount {
	return &mount{
		id: id, dir: filepath.Join(s.cfg.Dir, id), cache: filepath.Join(s.cfg.CacheDir, id),
		started: make(chan struct{}), lost: make(chan struct{}),
	}
}

func (m *mount) target() string { return filepath.Join(m.dir, "mnt") }
func (m *mount) record() string { return filepath.Join(m.dir, "record.json") }

// record is what the run folder has of a mount.
type record struct {
	Process  int                 `json:"process"`
	Began    uint64              `json:"began"` // when the process began, in the kernel's ticks: another with its number began at another time
	Endpoint *container.Endpoint `json:"endpoint,omitempty"`
}

// start mounts a bucket, or leaves nothing behind.
func (s *Store) start(ctx context.Context, m *mount, b container.BucketMount) {
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	err := s.mount(ctx, m, b)
	s.mu.Lock()
	if m.err = err; err != nil {
		s.forget(m)
	} else {
		s.running.Go(func() { s.watch(m) })
	}
	s.mu.Unlock()
	close(m.started)
}

func (s *Store) mount(ctx context.Context, m *mount, b container.BucketMount) error {
	if s.cfg.Program == "" {
		return fault.New(fault.Unimplemented, "this worker can't mount buckets: skerry-bucket is not beside skerryd")
	}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	undo.Add(func() { _ = s.end(m) })    // the error that stopped us is the one to tell
	user := firstUser + rand.IntN(users) //nolint:gosec // only to be apart from others
	if err := s.folders(m, user); err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	if o, err := origin(b.Endpoint); b.Endpoint == "" || err != nil || !s.trusted[o] {
		if m.endpoint, err = s.cfg.Network.AcquireWith(ctx, m.id, policy.Policy{}); err != nil {
			return fault.Wrap(fault.Internal, err)
		}
	}
	if err := m.names(); err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	device, err := mountDevice(m.target(), b.ReadOnly)
	if err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	defer device.Close() // the process alone has it: its end is the mount's
	if err := s.launch(ctx, m, device, s.settings(b, m, user)); err != nil {
		return err
	}
	undo.Release()
	return nil
}

func (s *Store) settings(b container.BucketMount, m *mount, user int) protocol.Settings {
	out := protocol.Settings{
		Bucket: b.Bucket, Endpoint: b.Endpoint, Prefix: b.Prefix, ReadOnly: b.ReadOnly, RequesterPays: b.RequesterPays, PathStyle: b.PathStyle,
		AccessKey: b.AccessKey, SecretKey: b.SecretKey, SessionToken: b.SessionToken, Region: b.Region,
		Root: m.cache, User: user, CacheBytes: s.cfg.CacheBytes,
	}
	if m.endpoint != nil {
		out.Nameserver = m.endpoint.Nameserver
	}
	return out
}

func (s *Store) folders(m *mount, user int) error {
	for _, dir := range []string{s.cfg.Dir, s.cfg.CacheDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	files := filepath.Join(m.cache, protocol.Files)
	for _, made := range []struct {
		dir  string
		mode os.FileMode
	}{{m.dir, 0o700}, {m.target(), 0o700}, {m.cache, 0o755}, {filepath.Join(m.cache, "etc"), 0o755}, {files, 0o700}} {
		if err := os.Mkdir(made.dir, made.mode); err != nil {
			return err
		}
	}
	return os.Chown(files, user, user)
}

// names gives the process the files by which it finds hosts: the host's own where it is in the host's network.
func (m *mount) names() error {
	texts := map[string][]byte{}
	if m.endpoint != nil {
		texts["resolv.conf"] = []byte("nameserver " + m.endpoint.Nameserver + "\n")
	}
	for _, name := range []string{"resolv.conf", "hosts", "nsswitch.conf"} {
		if m.endpoint != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/etc", name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		texts[name] = text
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(m.cache, "etc", name), text, 0o644); err != nil { //nolint:gosec // read by the process's user
			return err
		}
	}
	return nil
}

// mountDevice mounts a FUSE file system whose requests come from the device that it returns.
func mountDevice(target string, readOnly bool) (*os.File, error) {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device.Fd())
	if err := unix.Mount("skerry-bucket", target, "fuse.skerry-bucket", flags, options); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", target, err), device.Close())
	}
	return device, nil
}

// launch starts the process and waits until it serves.
func (s *Store) launch(ctx context.Context, m *mount, device *os.File, settings protocol.Settings) error {
	log, err := os.OpenFile(s.cfg.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	defer log.Close()                  // the child has its own descriptor
	cmd := exec.Command(s.cfg.Program) //nolint:gosec,noctx // our own; it outlives this process
	cmd.Stderr, cmd.Dir, cmd.ExtraFiles = log, "/", []*os.File{device}
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	if s.cfg.Roots != "" {
		cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+s.cfg.Roots) // the system's folder of certificates is read as well
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	defer out.Close() // only read
	cmd.Stdout = w
	if err := errors.Join(within(m.endpoint, cmd.Start), w.Close()); err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	if err := s.follow(m, cmd); err != nil {
		return fault.Wrap(fault.Internal, err)
	}
	// One that has ended takes no settings; its answer says why.
	_ = errors.Join(json.NewEncoder(in).Encode(settings), in.Close())
	stop := context.AfterFunc(ctx, func() { _ = out.SetReadDeadline(time.Now()) })
	defer stop()
	return s.heard(ctx, out)
}

// follow notes the process: the record first, so that whoever comes after us knows of it.
func (s *Store) follow(m *mount, cmd *exec.Cmd) (err error) {
	pid := cmd.Process.Pid
	if m.process, err = pidfd.Watch(pid); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	s.running.Go(func() {
		<-m.process.Done()
		select {
		case <-s.closed:
		default:
			_ = cmd.Wait() // what matters of its end is that it came
		}
	})
	began, err := processBegan(pid)
	if err != nil {
		return err
	}
	data, err := json.Marshal(record{Process: pid, Began: began, Endpoint: m.endpoint})
	if err != nil {
		return err
	}
	tmp := m.record() + ".tmp"
	return errors.Join(os.WriteFile(tmp, data, 0o600), os.Rename(tmp, m.record()))
}

// heard waits for the process's answer.
func (s *Store) heard(ctx context.Context, out io.Reader) error {
	line, err := bufio.NewReader(io.LimitReader(out, 1<<16)).ReadBytes('\n')
	var answer protocol.Answer
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Unavailable, "its server has not answered within %s", StartTimeout)
	case err != nil || json.Unmarshal(line, &answer) != nil:
		return fault.New(fault.Internal, "the process for it ended before it served; the log is in %s", s.cfg.LogFile)
	case answer.Message == "":
		return nil
	}
	kind := fault.Named(answer.Kind)
	if kind == nil {
		kind = fault.Internal
	}
	return fault.New(kind, "%s", answer.Message)
}

// watch waits for the end of a mount's process.
func (s *Store) watch(m *mount) {
	<-m.process.Done()
	s.mu.Lock()
	ending := m.ending
	s.unshare(m)
	s.mu.Unlock()
	if !ending {
		s.cfg.Log.Warn("the process of a bucket's mount has died: containers that use it end", "mount", m.id)
		close(m.lost)
	}
}

// end takes down what there is of a mount.
func (s *Store) end(m *mount) error {
	s.mu.Lock()
	m.ending = true
	s.mu.Unlock()
	var errs []error
	// Nobody uses it any more, so this is its end. Copies in the mount namespaces of others go with the folder.
	if err := unix.Unmount(m.target(), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		errs = append(errs, fmt.Errorf("unmount %s: %w", m.target(), err))
	}
	if err := os.Remove(m.target()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	if m.process != nil {
		errs = append(errs, finish(m.process))
	}
	errs = append(errs, os.RemoveAll(m.cache), os.RemoveAll(m.dir))
	if m.endpoint != nil {
		errs = append(errs, s.cfg.Network.Release(m.endpoint))
	}
	return errors.Join(errs...)
}

// finish waits for the end of a process whose mount is gone, and kills one that takes too long.
func finish(p *pidfd.Process) error {
	late := time.NewTimer(endTimeout)
	defer late.Stop()
	select {
	case <-p.Done():
		return nil
	case <-late.C:
	}
	err := p.Kill()
	<-p.Done()
	return err
}

// processBegan tells when a process began.
func processBegan(pid int) (uint64, error) {
	const field, afterName = 22, 2 // as proc(5) counts
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := statFields(text)
	if len(fields) <= field-afterName-1 {
		return 0, fault.New(fault.Internal, "process %d: the kernel does not tell when it began", pid)
	}
	return strconv.ParseUint(fields[field-afterName-1], 10, 64)
}
