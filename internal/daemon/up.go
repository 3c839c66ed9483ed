package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
)

func (c *command) up() *cobra.Command {
	var detach bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run gateway, worker and image builder",
		Long: `Run a whole Skerry on this machine: gateway, worker and image builder in one process.

It runs in the foreground until it is interrupted, or with --detach in the background
until "skerryd down"; then it returns when calls can be made, and the log is in
skerryd.log in the data folder. The first start makes an admin token and writes it to
the profile "local" of ~/.skerry.toml, which the Python SDK and the skerry command read.

It listens on this machine alone unless told otherwise. Any other address needs TLS
(--tls-cert, --tls-key), or --insecure where something in front of it encrypts.

It needs root: sandboxes are made of namespaces, mounts and control groups. "skerryd
doctor" says what else.`,
		Example: `  skerryd up
  skerryd up --detach --data /srv/skerry --listen 127.0.0.1:7171
  skerryd up --listen 0.0.0.0:7070 --tls-cert cert.pem --tls-key key.pem
  skerryd up --cpu 8 --memory 16384 --allow-private 10.1.2.0/24`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			return c.start(cmd, cfg, detach, roles{gateway: true, worker: true, builder: !cfg.ExternalBuilders})
		},
	}
	c.bindDetach(cmd, &detach)
	c.bindGroups(cmd, config.GroupMain, config.GroupIngress, config.GroupWorker, config.GroupBuilder)
	return cmd
}

func (c *command) bindDetach(cmd *cobra.Command, detach *bool) {
	cmd.Flags().BoolVarP(detach, "detach", "d", false, "run in the background and return when ready")
}

// start runs some of the processes, in the background or until the command's context ends.
func (c *command) start(cmd *cobra.Command, cfg config.Config, detach bool, r roles) error {
	if os.Geteuid() != 0 {
		return fault.New(fault.Precondition, "%s: needs root for namespaces, mounts and control groups; run it with sudo", cmd.CommandPath())
	}
	if r.gateway {
		cfg.Gateway = "" // its own
	}
	if detach {
		return c.background(cmd.Context(), cfg)
	}
	return c.foreground(cmd.Context(), cfg, r)
}

// foreground runs some of the processes in this one until ctx ends.
func (c *command) foreground(ctx context.Context, cfg config.Config, r roles) (err error) {
	tell, err := openReport()
	if err != nil {
		return err
	}
	defer func() { tell.failed(err) }()
	lock, err := lockPID(cfg.PIDFile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	log := newLogger(cfg)
	all, err := newNode(ctx, cfg, log, r)
	if err != nil {
		return err
	}
	defer all.close()
	return all.run(ctx, tell.ready)
}

func newLogger(cfg config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo // Check has seen that this can't be
	}
	options := &slog.HandlerOptions{Level: level}
	text := cfg.LogFormat == config.FormatText || cfg.LogFormat == config.FormatAuto && term.IsTerminal(int(os.Stderr.Fd()))
	if text {
		return slog.New(slog.NewTextHandler(os.Stderr, options))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, options))
}

func gatewayDir(cfg config.Config) string { return filepath.Join(cfg.Data, "gateway") }

// localURL is where clients on this machine reach the gateway of the settings.
func localURL(cfg config.Config) string {
	scheme := "http"
	if cfg.TLSCert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return scheme + "://" + cfg.Listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// program finds one of our binaries: where the setting says, beside skerryd, or in PATH.
func program(name, setting string) (string, error) {
	if setting != "" {
		return filepath.Abs(setting)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if st, err := os.Stat(beside); err == nil && st.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := lookPath(name)
	if err != nil {
		return "", fault.New(fault.Precondition, "%s: neither beside skerryd nor in PATH; run make build, or give its path with --%s", name, name)
	}
	return path, nil
}

// optionalProgram is program for one without which something can't be done, which is said when it is asked for; empty: it is not there.
func optionalProgram(name string) string {
	path, err := program(name, "")
	if err != nil {
		return ""
	}
	return path
}

// guestDir finds the folder that containers see as /__skerry.
func guestDir(cfg config.Config) (string, error) {
	if cfg.Guest != "" {
		return cfg.Guest, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("guest folder: %w", err)
	}
	dir := filepath.Join(filepath.Dir(self), "guest")
	if _, err := os.Stat(filepath.Join(dir, "skerry-init")); err != nil {
		return "", fault.New(fault.Precondition, "guest folder: %w; run make build, or give its path with --guest", err)
	}
	return dir, nil
}
