package runtime

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/cgroup"
)

const (
	// watchInterval is how often a step's use of disk and processes is looked at: the kernel tells nobody of either.
	watchInterval = 200 * time.Millisecond
	// killTimeout is how long a killed step may take to end.
	killTimeout = 30 * time.Second
	// cpuWeight of a step is a quarter of a core, so that containers, which calls wait for, go first.
	cpuWeight = 250
)

// step is a container under its limits.
type step struct {
	limits Limits
	groups *cgroup.Subtree
	id     string // of its group
	disk   *disk
	lost   <-chan struct{} // closed when its volumes are gone; nil: it has none
}

// run runs the container of a bundle to its end and returns its exit code. What it went over is said in the last line of its output.
func (c Config) run(bundle string, argv []string) (code int, err error) {
	groups, err := cgroup.Open(c.Limits.Cgroup)
	if err != nil {
		return 0, err
	}
	s := &step{limits: c.Limits, groups: groups, id: GroupFolder + "/" + filepath.Base(bundle)}
	spec, err := readSpec(bundle)
	if err != nil {
		return 0, err
	}
	if err := confine(spec, groups.Path(s.id)); err != nil {
		return 0, err
	}
	// What is in volumes is not on the step's disk.
	if s.disk, err = newDisk(spec, c.Limits.DiskBytes); err != nil {
		return 0, err
	}
	volumes, err := c.volumes(spec)
	if err != nil {
		return c.refuse(err), nil
	}
	return c.withVolumes(volumes, func(lost <-chan struct{}) (int, error) {
		if err := writeSpec(bundle, spec); err != nil {
			return 0, err
		}
		s.lost = lost
		return c.start(s, argv)
	})
}

// start starts the runtime of a step within its limits, and waits for its end.
func (c Config) start(s *step, argv []string) (code int, err error) {
	held, err := s.groups.Hold(s.id, cgroup.Limits{
		MemoryBytes: uint64(c.Limits.MemoryBytes), Processes: uint64(c.Limits.Processes), CPUMilli: cpuWeight, //nolint:gosec // not negative
	}, c.Limits.CPUMilli)
	if err != nil {
		return 0, errors.Join(err, s.remove())
	}
	defer func() { err = errors.Join(err, s.remove()) }()
	// The kernel ties the signal at a parent's death to the thread that made the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // the runtime of this configuration; watch ends it
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := cmd.Start
	if c.Runc == "" {
		start = func() error { return s.groups.Start(held, cmd.SysProcAttr, cmd.Start) }
	}
	if err := start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	watched := make(chan verdict, 1)
	go func() { watched <- s.watch(ended) }()
	waitErr := cmd.Wait()
	close(ended)
	v := <-watched
	if exit := new(exec.ExitError); waitErr != nil && !errors.As(waitErr, &exit) {
		return 0, errors.Join(waitErr, v.err)
	}
	return c.end(s, cmd.ProcessState, v)
}

func (s *step) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	return s.groups.Remove(ctx, s.id)
}

// verdict is what a step went over; or why it can't be told.
type verdict struct {
	text string
	err  error
}

// watch kills the step when it goes over a limit that the kernel doesn't hold, and says which.
func (s *step) watch(ended <-chan struct{}) verdict {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var late <-chan time.Time
	if s.limits.Time > 0 {
		t := time.NewTimer(s.limits.Time)
		defer t.Stop()
		late = t.C
	}
	for {
		select {
		case <-ended:
			text, err := s.disk.look(nil) // it may have written all of it since the last look
			return verdict{text, err}
		case <-late:
			return s.kill(overTime(s.limits))
		case <-s.lost:
			return s.kill(lostVolumes)
		case <-tick.C:
		}
		text, err := s.look()
		if err != nil {
			return verdict{err: errors.Join(err, s.kill("").err)}
		}
		if text != "" {
			return s.kill(text)
		}
	}
}

// look says what the step is over at the moment. A step that was refused a process is as good as over: whoever makes them without end
// never ends by itself.
func (s *step) look() (string, error) {
	refused, err := s.refused()
	if err != nil || refused {
		return overProcesses(s.limits), err
	}
	pids, err := s.groups.Processes(s.id)
	if err != nil {
		return "", err
	}
	return s.disk.look(pids)
}

func (s *step) refused() (bool, error) {
	var all uint64
	for _, id := range []string{s.id, s.id + "/" + runcGroup} {
		n, err := s.groups.RefusedForks(id)
		if err != nil {
			return false, err
		}
		all += n
	}
	return all > 0, nil
}

func (s *step) kill(text string) verdict {
	ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	return verdict{text, s.groups.Kill(ctx, s.id)}
}

// end tells the verdict, if there is one, and returns the step's exit code.
func (c Config) end(s *step, state *os.ProcessState, v verdict) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	code := state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	if code == 0 && v.text == "" {
		return 0, nil
	}
	if v.text == "" {
		text, err := s.afterwards()
		if err != nil || text == "" {
			return code, err
		}
		v.text = text
	}
	c.tell(v.text)
	return KilledCode, nil
}

// afterwards says what a step that failed was over, as the kernel tells it.
func (s *step) afterwards() (string, error) {
	for _, id := range []string{s.id, s.id + "/" + runcGroup} {
		oom, err := s.groups.OOM(id)
		if err != nil {
			return "", err
		}
		if oom.Kills > 0 {
			return overMemory(s.limits, oom.Shared && id == s.id), nil
		}
	}
	refused, err := s.refused()
	if err != nil || !refused {
		return "", err
	}
	return overProcesses(s.limits), nil
}
