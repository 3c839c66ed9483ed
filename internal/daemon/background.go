package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	// reportVariable tells a background skerryd which descriptor its starter listens to.
	reportVariable = "SKERRYD_REPORT_FD"
	// reportFD is the first descriptor after standard error, where exec.Cmd puts extra files.
	reportFD = 3
	// maxLogSize is past which the log file is put aside at a start.
	maxLogSize = 64 << 20
	readyLine  = "ready"
)

func lookPath(name string) (string, error) { return exec.LookPath(name) }

// report is the background process's end of the pipe to its starter. In the foreground it has no file and says nothing.
type report struct{ file *os.File }

func openReport() (*report, error) {
	text := os.Getenv(reportVariable)
	if text == "" {
		return &report{}, nil
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd != reportFD {
		return nil, fault.New(fault.Invalid, "%s=%q: is set by skerryd up --detach alone", reportVariable, text)
	}
	unix.CloseOnExec(fd)
	// What is started from here on is nobody's background process.
	return &report{file: os.NewFile(uintptr(fd), "report")}, os.Unsetenv(reportVariable)
}

// ready says that calls can be made.
func (r *report) ready() { r.say(readyLine) }

// failed says why the process ends, if it was not ready before.
func (r *report) failed(err error) {
	if err != nil {
		r.say(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

func (r *report) say(line string) {
	if r.file == nil {
		return
	}
	// A starter that has gone doesn't mind.
	_, _ = r.file.WriteString(line + "\n")
	_ = r.file.Close()
	r.file = nil
}

// background starts this program again in a session of its own, and waits until it is ready or has failed.
func (c *command) background(ctx context.Context, cfg config.Config) error {
	if pidfd, pid, err := running(cfg.PIDFile()); err != nil {
		return err
	} else if pidfd >= 0 {
		_ = unix.Close(pidfd)
		return fault.New(fault.Exists, "data folder %q: skerryd runs on it as process %d; stop that with skerryd down, or choose another with --data",
			cfg.Data, pid)
	}
	log, err := openLog(cfg)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close() // only read
	cmd, err := startBackground(log, w)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(unix.SIGTERM) }) // it may just have ended
	line, err := bufio.NewReader(r).ReadString('\n')
	stop()
	if strings.TrimSpace(line) == readyLine {
		_, err := fmt.Fprintf(c.out, "skerryd %s (process %d, log in %s)\n", announce(cfg), cmd.Process.Pid, cfg.LogFile())
		return errors.Join(err, cmd.Process.Release())
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("background process %d: %w", cmd.Process.Pid, err)
	}
	why := strings.TrimSpace(line)
	if werr := cmd.Wait(); why == "" {
		why = fmt.Sprintf("it ended before it was ready (%v)", werr)
	}
	return fault.New(fault.Precondition, "%s; the log is in %s", why, cfg.LogFile())
}

// startBackground starts the process. It closes w, whose other end then tells when the process has none.
func startBackground(log, w *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	cmd := exec.Command(self, foregroundArgs(os.Args[1:])...) //nolint:gosec,noctx // ourselves; it is to outlive this process
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = append(os.Environ(), reportVariable+"="+strconv.Itoa(reportFD))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		return nil, fmt.Errorf("background process: %w", err)
	}
	return cmd, nil
}

// foregroundArgs leaves out what asks for the background.
func foregroundArgs(args []string) []string {
	kept := make([]string, 0, len(args))
	for _, a := range args {
		if a == "--detach" || a == "-d" || strings.HasPrefix(a, "--detach=") {
			continue
		}
		kept = append(kept, a)
	}
	return kept
}

// openLog opens the log file for appending, and puts a large one aside first.
func openLog(cfg config.Config) (*os.File, error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	path := cfg.LogFile()
	if st, err := os.Stat(path); err == nil && st.Size() > maxLogSize {
		if err := os.Rename(path, path+"."+time.Now().UTC().Format("20060102T150405")); err != nil {
			return nil, fmt.Errorf("log file: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	return f, nil
}
