package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
)

// DefaultStopTimeout is how long skerryd down waits for the end.
const DefaultStopTimeout = 60 * time.Second

func (c *command) down() *cobra.Command {
	timeout, keep := DefaultStopTimeout, false
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the skerryd of this data folder, with all its containers",
		Long: `Stop the skerryd of a data folder and wait until it has ended.

Running inputs are interrupted. Those of spawned calls, and of clients that wait, run
again when skerryd is next started. It is no error if none runs.

Sandboxes end as well, unless --keep-sandboxes is given: then they run on, and the
next skerryd of the data folder goes on with them, as for an upgrade.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			signal := unix.SIGTERM
			if keep {
				signal = handover
			}
			return c.stop(cmd.Context(), cfg, signal, timeout)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait for its end")
	cmd.Flags().BoolVar(&keep, "keep-sandboxes", keep, "leave sandboxes running for the next start")
	c.bind(cmd, "data")
	return cmd
}

func (c *command) stop(ctx context.Context, cfg config.Config, signal unix.Signal, timeout time.Duration) error {
	pidfd, pid, err := running(cfg.PIDFile())
	if err != nil {
		return err
	}
	if pidfd < 0 {
		_, err := fmt.Fprintf(c.out, "no skerryd runs on %s\n", cfg.Data)
		return err
	}
	defer unix.Close(pidfd) //nolint:errcheck // nothing was written
	if err := unix.PidfdSendSignal(pidfd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	ended, err := waitExit(ctx, pidfd, timeout)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	if !ended {
		return fault.New(fault.Unavailable, "process %d has not ended after %s; %s says what it waits for", pid, timeout, cfg.LogFile())
	}
	_, err = fmt.Fprintf(c.out, "skerryd has ended (process %d)\n", pid)
	return err
}

// waitExit waits until the process has ended, ctx has, or the time is up; it returns whether the process has.
func waitExit(ctx context.Context, pidfd int, timeout time.Duration) (bool, error) {
	// An eventfd wakes the poll below when ctx ends.
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return false, err
	}
	defer unix.Close(wake) //nolint:errcheck // nothing to lose
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // the descriptor is open and its counter 0
	})
	defer func() {
		if !stop() {
			<-woken
		}
	}()
	deadline := time.Now().Add(timeout)
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return false, nil
		}
		_, err := unix.Poll(fds, int(left.Milliseconds())+1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false, err
		case fds[0].Revents != 0:
			return true, nil
		case fds[1].Revents != 0:
			return false, ctx.Err()
		}
	}
}
