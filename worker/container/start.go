package container

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// What containers see of the host.
const (
	// RuntimeTarget is where containers see skerry-init and py/.
	RuntimeTarget = "/__skerry"
	// DefaultWorkdir is where code runs when the image says nothing.
	DefaultWorkdir = "/root"
	// runnerProcess is the id of the runner's process in the container.
	runnerProcess = "runner"
	// runName is the folder of the sockets, in the container's folder and in RuntimeTarget.
	runName     = "run"
	guestSocket = "guest.sock"
	// runnerSocket is where the runner dials.
	runnerSocket = "runner.sock"
	// gatewaySocket is where code in the container calls the gateway.
	gatewaySocket = "gateway.sock"
	// DefaultPath is where programs are looked for when the image says nothing.
	DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// cleanupTimeout bounds each step that gives something back.
	cleanupTimeout = 30 * time.Second
	// volumesTimeout bounds the last commit of volumes.
	volumesTimeout = 3 * time.Minute
)

// life is what one Run of a container holds; only its goroutine touches it, but for the fields that say otherwise.
type life struct {
	*Container
	undo   *lifecycle.Cleanup
	failed []error // of giving back
	began  time.Time
	phases []Phase

	dir      string // of the container
	endpoint *Endpoint
	booted   Booted // a sandbox that was booted ahead; nil: one is booted
	image    string
	binds    []Bind

	lostBuckets []<-chan struct{} // as MountedBucket.Lost, by the spec's order

	group         *lifecycle.Group // the goroutines below
	guestL        *net.UnixListener
	runnerL       *net.UnixListener
	gatewayL      *net.UnixListener // nil: no access
	sandbox       Sandbox
	late          Sandbox // one that came up after the end; for the sandbox goroutine, and for tearDown after it
	processUp     bool
	logging       bool // there is a goroutine that ends with the sink's EOF; for the guest goroutine, and for finish after it
	ready         bool
	leaving       bool          // the runner has said that it ends, interrupted
	sessionOver   chan struct{} // closed when the conversation with the runner has ended
	processOver   chan struct{} // closed when the runner's process has ended
	logsOver      chan struct{} // closed when its output has been read to the end
	copied        atomic.Uint64 // how many entries of it the sink has taken
	cancelSession context.CancelFunc

	marks marks
}

// marks are the moments between phases; they are set by different goroutines.
type marks struct {
	mu                          sync.Mutex
	sandbox, dialled, processUp time.Time
}

func (m *marks) set(field *time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*field = time.Now()
}

// prepare gets everything that a sandbox is made of. What was got is on the cleanup stack, also when it fails.
func (l *life) prepare(ctx context.Context) error {
	var wg sync.WaitGroup
	var netErr, rootErr error
	var network, rootfs time.Duration
	wg.Go(func() { network, netErr = timed(func() error { return l.acquire(ctx) }) })
	var releases []func()
	wg.Go(func() {
		rootfs, rootErr = timed(func() (err error) {
			releases, err = l.files(ctx)
			return err
		})
	})
	dirErr := l.makeDir()
	wg.Wait()
	for _, release := range releases {
		l.undo.Add(release)
	}
	if l.endpoint != nil {
		l.undo.Add(func() {
			if err := l.host.cfg.Network.Release(l.endpoint); err != nil {
				l.failed = append(l.failed, fmt.Errorf("container %q: network: %w", l.spec.ID, err))
			}
		})
	}
	if l.booted != nil {
		l.undo.Add(l.deleteBooted)
	}
	l.phases = append(l.phases, Phase{"network", network}, Phase{"rootfs", rootfs})
	if err := errors.Join(netErr, rootErr, dirErr); err != nil {
		return err
	}
	return l.listen()
}

func timed(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

func (l *life) files(ctx context.Context) (releases []func(), err error) {
	image, release, err := l.host.cfg.Rootfs.Image(ctx, l.spec.Image)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	releases = append(releases, release)
	binds, release, err := l.host.cfg.Rootfs.Mounts(ctx, l.spec.Mounts)
	if err != nil {
		return releases, fmt.Errorf("mounts: %w", err)
	}
	l.image, l.binds = image, binds
	if releases = append(releases, release); len(l.spec.Volumes) > 0 {
		if l.host.cfg.Volumes == nil {
			return releases, fault.New(fault.Unimplemented, "volumes: this worker's host has no FUSE")
		}
		if binds, err = l.host.cfg.Volumes.Mount(ctx, l.spec.ID, l.spec.Volumes); err != nil {
			return releases, err
		}
		l.binds = append(l.binds, binds...)
	}
	buckets, given, err := l.mountBuckets(ctx)
	if releases = append(releases, given...); err != nil {
		return releases, err
	}
	l.binds = append(l.binds, buckets...)
	return releases, nil
}

func (l *life) makeDir() error {
	l.dir = filepath.Join(l.host.cfg.RunDir, l.spec.ID)
	for _, sub := range []string{"", runName, "bundle"} {
		if err := os.Mkdir(filepath.Join(l.dir, sub), 0o700); err != nil {
			return fmt.Errorf("container folder: %w", err)
		}
	}
	l.undo.Add(func() {
		if err := os.RemoveAll(l.dir); err != nil {
			l.failed = append(l.failed, fmt.Errorf("container %q: %w", l.spec.ID, err))
		}
	})
	return nil
}

// listen opens the sockets that the container dials, before it is there, and writes its name files.
func (l *life) listen() error {
	var err error
	if l.guestL, err = l.listenAt(guestSocket); err != nil {
		return err
	}
	if l.runnerL, err = l.listenAt(runnerSocket); err != nil {
		return err
	}
	if l.host.cfg.Access != nil && !l.spec.RestrictAccess {
		if l.gatewayL, err = l.listenAt(gatewaySocket); err != nil {
			return err
		}
	}
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if l.endpoint.Address != "" {
		hosts += l.endpoint.Address + "\t" + hostname(l.spec.ID) + "\n"
	}
	resolv := "# no network\n"
	if l.endpoint.Nameserver != "" {
		resolv = "nameserver " + l.endpoint.Nameserver + "\n"
	}
	for name, text := range map[string]string{"hosts": hosts, "resolv.conf": resolv} {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // read by every user inside
			return fmt.Errorf("container folder: %w", err)
		}
	}
	return nil
}

func (l *life) listenAt(name string) (*net.UnixListener, error) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(l.dir, runName, name)})
	if err != nil {
		return nil, fmt.Errorf("container socket: %w", err)
	}
	l.undo.Add(func() { _ = ln.Close() }) // closed already where its connection has come
	return ln, nil
}

// hostname is the container's own name for itself.
func hostname(id string) string { return strings.ToLower(strings.ReplaceAll(id, "_", "-")) }

func (l *life) params() SandboxParams {
	s := &l.spec
	binds := append([]Bind{
		{Source: l.host.cfg.RuntimeDir, Target: RuntimeTarget},
		{Source: filepath.Join(l.dir, runName), Target: filepath.Join(RuntimeTarget, runName)},
		{Source: filepath.Join(l.dir, "hosts"), Target: "/etc/hosts"},
		{Source: filepath.Join(l.dir, "resolv.conf"), Target: "/etc/resolv.conf"},
	}, l.binds...)
	argv := []string{RuntimeTarget + "/skerry-init"}
	if l.booted != nil {
		argv = append(argv, "-hostname", hostname(s.ID))
	}
	return SandboxParams{
		ID: s.ID, Dir: filepath.Join(l.dir, "bundle"), Image: l.image,
		DiskDir: l.host.cfg.DiskDir, DiskMiB: s.EphemeralDiskMiB,
		NetnsPath: l.endpoint.NetnsPath, Hostname: hostname(s.ID),
		Argv:     argv,
		Binds:    binds,
		CPUMilli: s.CPUMilli, CPULimitMilli: s.CPULimitMilli, MemoryLimitMiB: s.MemoryLimitMiB,
	}
}

// boot starts the sandbox and, as soon as init dials, the runner: init is often there before the runtime's command has returned.
func (l *life) boot(ctx context.Context) {
	l.group = lifecycle.NewGroup(ctx)
	l.sessionOver, l.processOver, l.logsOver = make(chan struct{}), make(chan struct{}), make(chan struct{})
	l.marks.set(&l.marks.sandbox)
	l.group.Go("sandbox", func(ctx context.Context) error {
		s, err := l.startSandbox(ctx)
		select {
		case l.notes <- note{kind: noteSandbox, sandbox: s, err: err}:
		case <-l.over:
			l.late = s
		}
		return nil
	})
	l.group.Go("guest", func(ctx context.Context) error {
		l.startProcess(ctx)
		return nil
	})
	l.watchBuckets()
	if l.gatewayL != nil {
		l.group.Go("gateway access", func(ctx context.Context) error {
			return l.host.cfg.Access.Serve(ctx, l.spec.ID, l.gatewayL)
		})
	}
	session, cancel := context.WithCancel(l.group.Context())
	l.cancelSession = cancel
	l.group.Go("runner", func(context.Context) error {
		l.converse(session)
		return nil
	})
}

// accept takes the one connection of a socket.
func accept(ctx context.Context, ln *net.UnixListener) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	conn, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	return conn, ln.Close()
}

// startProcess waits for init, has it start the runner, and follows the runner's process to its end.
func (l *life) startProcess(ctx context.Context) {
	conn, err := accept(ctx, l.guestL)
	if err != nil {
		l.note(note{kind: noteProcess, err: fmt.Errorf("init: %w", err)})
		return
	}
	l.marks.set(&l.marks.dialled)
	guest, err := l.host.cfg.Dialects.Guest(conn)
	if err != nil {
		l.note(note{kind: noteProcess, err: fmt.Errorf("init: %w", err)})
		return
	}
	l.mu.Lock()
	l.guest = guest
	l.mu.Unlock()
	err = guest.Start(ctx, Process{
		ID:          runnerProcess,
		Argv:        []string{"python3", RuntimeTarget + "/py/skerry/_runner/__main__.py"},
		Env:         environment(&l.spec),
		Workdir:     workdirOf(&l.spec),
		MakeWorkdir: true,
	})
	l.marks.set(&l.marks.processUp)
	if err != nil {
		l.note(note{kind: noteProcess, err: err})
		return
	}
	l.logging = true
	l.host.logs.Go(func() {
		// The output's end is not the container's: a full log sink must not keep a dead container's resources.
		l.copyOutput(context.WithoutCancel(ctx), guest)
		close(l.logsOver)
	})
	l.note(note{kind: noteProcess})
	end, err := guest.Wait(ctx, runnerProcess)
	l.note(note{kind: noteProcessEnd, end: end, err: err})
	close(l.processOver)
}

// converse waits for the runner to dial and speaks with it until the end.
func (l *life) converse(ctx context.Context) {
	defer close(l.sessionOver)
	conn, err := accept(ctx, l.runnerL)
	if err != nil {
		return // the container ends before its runner has come; whoever ended it knows why
	}
	session := l.host.cfg.Dialects.Runner(conn, RunnerParams{
		Spec:   &l.spec,
		Signal: func(sig int) error { return l.signal(ctx, syscall.Signal(sig), false) },
		Events: heard{l.Container},
	})
	l.mu.Lock()
	l.runner = session
	session.Submit(l.early)
	l.early = nil
	l.mu.Unlock()
	l.note(note{kind: noteConnected})
	l.note(note{kind: noteSession, err: session.Run(ctx)})
}

func (l *life) signal(ctx context.Context, sig syscall.Signal, group bool) error {
	guest, err := l.Guest()
	if err != nil {
		return err
	}
	return guest.Signal(ctx, runnerProcess, sig, group)
}

func workdirOf(s *Spec) string {
	if s.ImageWorkdir != "" {
		return s.ImageWorkdir
	}
	return DefaultWorkdir
}

// environment is what the runner's process, and commands beside it, get. User code sees no credential of ours in it.
func environment(s *Spec) map[string]string {
	env := map[string]string{"PATH": DefaultPath, "HOME": "/root", "LANG": "C.UTF-8"}
	maps.Copy(env, s.ImageEnv)
	maps.Copy(env, s.SecretEnv)
	maps.Copy(env, map[string]string{
		"SKERRY_IS_REMOTE":   "1",
		"SKERRY_TASK_ID":     s.ID,
		"SKERRY_IMAGE_ID":    s.ImageID,
		"SKERRY_ENVIRONMENT": s.Environment,
		"SKERRY_APP_ID":      s.AppID,
		"SKERRY_FUNCTION_ID": s.FunctionID,
	})
	for label, name := range map[string]string{"cloud": "SKERRY_CLOUD_PROVIDER", "region": "SKERRY_REGION"} {
		if v := s.Labels[label]; v != "" {
			env[name] = v
		}
	}
	if s.ModalNames {
		for name, value := range maps.Clone(env) {
			if rest, ok := strings.CutPrefix(name, "SKERRY_"); ok {
				env["MODAL_"+rest] = value
			}
		}
	}
	return env
}
