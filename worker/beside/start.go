package beside

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// readyLine is what a process writes to standard output when workers can connect.
const readyLine = "ready"

// pastDeadline is a deadline that has passed.
var pastDeadline = time.Unix(1, 0)

// Program is a process to start.
type Program struct {
	Command  []string // and its arguments, without the last
	Settings string   // the last argument
	LogFile  string   // that standard error is appended to
}

// Start starts a process that outlives this one, and returns when it has said that it is ready. The channel is closed when it has ended;
// running waits for that until life ends.
func Start(ctx, life context.Context, running *sync.WaitGroup, p Program) (chan struct{}, error) {
	log, err := os.OpenFile(p.LogFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	defer log.Close() // the child has its own descriptor
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()                                                                       // only read
	cmd := exec.Command(p.Command[0], append(slices.Clone(p.Command[1:]), p.Settings)...) //nolint:gosec,noctx // ourselves; it outlives this process
	cmd.Stdout, cmd.Stderr, cmd.Dir = w, log, "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		return nil, err
	}
	process := make(chan struct{})
	running.Go(func() {
		defer close(process)
		// It may outlive us.
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait() // what matters of its end is that its connection ends
		}()
		select {
		case <-ended:
		case <-life.Done():
		}
	})
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(pastDeadline) })
	defer stop()
	line, err := bufio.NewReader(r).ReadString('\n')
	if strings.TrimSpace(line) == readyLine {
		return process, nil
	}
	_ = cmd.Process.Kill() // it may have ended
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("process %d: %w", cmd.Process.Pid, err)
	}
	return nil, fault.New(fault.Unavailable, "process %d: ended before it was ready; the log is in %s", cmd.Process.Pid, p.LogFile)
}

// Ready returns what tells the worker, through out, which it closes, that the process is ready. Only its first call does.
func Ready(out *os.File) func() {
	var once sync.Once
	return func() {
		once.Do(func() {
			_, _ = out.WriteString(readyLine + "\n") // a worker that has gone doesn't mind
			_ = out.Close()
		})
	}
}
