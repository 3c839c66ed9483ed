// Package testserver runs servers that tests need as processes which don't outlive the tests' own.
package testserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// Server is a process that runs.
type Server struct {
	command *exec.Cmd
	ended   chan error
}

// Start starts a command and returns when a line of its standard error holds ready. The command must not have its own Stderr.
func Start(command *exec.Cmd, ready string) (*Server, error) {
	log, err := command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	s := &Server{command: command, ended: make(chan error, 1)}
	started := make(chan error, 1)
	go func() {
		// The death signal is for the end of the thread that started the process: this one stays as long as it does.
		runtime.LockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			state, err := command.Process.Wait() // not Cmd.Wait, which closes the pipe that is being read
			if err == nil && !state.Success() {
				err = &exec.ExitError{ProcessState: state}
			}
			s.ended <- err
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("server %q: %w", command.Path, err)
	}
	if err := await(log, ready); err != nil {
		return nil, errors.Join(fmt.Errorf("server %q: %w", command.Path, err), <-s.ended)
	}
	return s, nil
}

// await reads the log: here until it is ready, then elsewhere to its end.
func await(log io.ReadCloser, ready string) error {
	lines := bufio.NewScanner(log)
	var said []string
	for lines.Scan() {
		if strings.Contains(lines.Text(), ready) {
			go func() {
				_, _ = io.Copy(io.Discard, log) // ends with the server
				_ = log.Close()
			}()
			return nil
		}
		said = append(said, lines.Text())
	}
	return fmt.Errorf("ended before it was ready: %w\n%s", errors.Join(lines.Err(), log.Close()), strings.Join(said, "\n"))
}

// Stop sends a signal and waits for the end; what it returns is how the process ended.
func (s *Server) Stop(signal os.Signal) error {
	err := s.command.Process.Signal(signal)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return errors.Join(err, <-s.ended)
}

// Kill ends the process with SIGKILL.
func (s *Server) Kill() {
	_ = s.Stop(os.Kill) // how it ended is known
}
