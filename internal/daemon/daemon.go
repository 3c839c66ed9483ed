// Package daemon is the command line of skerryd, and puts the processes of Skerry together.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/imagebuilder/runtime"
	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/keeper"
	"github.com/skerry-dev/skerry/worker/volume"
)

// Version is this release.
const Version = "0.1.0"

// runtimeCommand is the hidden command that BuildKit is given as its OCI runtime.
const runtimeCommand = "buildkit-runtime"

// keeperCommand is the hidden command that a worker starts with the keeper's settings.
const keeperCommand = "keeper"

// volumesCommand is the hidden command that a worker starts with the settings of the process that serves volumes.
const volumesCommand = "volumes"

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// Main runs skerryd with the arguments after its name and returns the exit code: 0, 1 after a failure, 2 for a wrong command line.
func Main(args []string) int {
	if len(args) > 0 && args[0] == runtimeCommand {
		// Before everything else: its arguments are BuildKit's, and it becomes another program.
		return runtime.Main(args[1:])
	}
	if err := closeMemory(); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "skerryd: %v\n", err)
		return exitFailure
	}
	ctx, cancel := untilSignal()
	defer cancel()
	root := newRoot(os.Stdout, os.Stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errReported) {
		_, _ = fmt.Fprintf(os.Stderr, "skerryd: %v\n", err)
	}
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailure
}

// closeMemory keeps what is in memory, such as values of secrets, out of core dumps, and from processes that may not trace any process. A limit on
// the size of dumps would not do: where the host pipes them to a program, it does not count.
func closeMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("core dumps could not be turned off: %w", err)
	}
	return nil
}

// handover is the signal to end and to leave sandboxes for the next start.
const handover = unix.SIGUSR1

// untilSignal returns a context that ends with the first signal to stop; the second ends the process at once.
func untilSignal() (ctx context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, handover)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			if s == handover {
				end(lifecycle.ErrHandover)
			}
			end(nil)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		end(nil)
	}
}

var (
	// errReported is an error that its command has shown already.
	errReported = errors.New("reported")
	errUsage    = errors.New("usage")
)

// command is what all commands share.
type command struct {
	out, err io.Writer
	file     string // --config
	flags    config.Config
	options  []config.Option
}

func newRoot(out, errOut io.Writer) *cobra.Command {
	c := &command{out: out, err: errOut, flags: config.NewConfig()}
	c.options = config.Options(&c.flags)
	root := &cobra.Command{
		Use:   "skerryd",
		Short: "Run Skerry on this machine",
		Long: `Skerryd runs decorated Python functions in isolated containers on this machine.

One process is gateway, worker and image builder. Its database, message engine and
object store are built in; all it keeps is in one folder. Start it with "skerryd up",
then use the "skerry" command of the Python SDK: "skerry run hello.py". For more than
one machine, start "skerryd gateway" on one and "skerryd worker" or "skerryd builder" on
each of the others.

Settings come from, each over the one before: defaults, a file (` + config.DefaultFile + `
or --config), environment variables, flags. The setting --tls-cert is SKERRY_TLS_CERT
in the environment and tls_cert in the file. What may be secret has no flag: secrets_key
and secrets_keys_before.`,
		Example: `  skerryd doctor            # what this machine has and lacks
  skerryd base prepare      # make the base image now, not at the first build
  skerryd up                # run in the foreground
  skerryd up --detach       # run in the background; return when ready
  skerryd down              # stop it, with all containers`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&c.file, "config", "", "settings file (default "+config.DefaultFile+", if it exists)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help%w", err, cmd.CommandPath(), quiet{errUsage})
	})
	root.AddCommand(c.up(), c.gateway(), c.worker(), c.builder(), c.down(), c.doctor(), c.token(), c.secret(), c.base(), c.backup(), c.restore(), c.migrate(), c.keeper(), c.volumes(), c.version())
	return root
}

// quiet marks an error without adding to its text.
type quiet struct{ error }

func (q quiet) Error() string { return "" }
func (q quiet) Unwrap() error { return q.error }

// bind gives a command the flags of some settings; with no keys, of all.
func (c *command) bind(cmd *cobra.Command, keys ...string) {
	for _, o := range c.options {
		wanted := len(keys) == 0
		for _, k := range keys {
			wanted = wanted || k == o.Key
		}
		if !wanted || o.Group == config.GroupSecrets {
			continue
		}
		f := cmd.Flags().VarPF(o, o.Flag(), "", o.Usage)
		if o.IsBool() {
			f.NoOptDefVal = "true"
		}
	}
}

// load returns the settings: file and environment, then the flags that were given.
func (c *command) load(cmd *cobra.Command) (config.Config, error) {
	cfg, err := config.Load(c.file, os.LookupEnv)
	if err != nil {
		return cfg, err
	}
	for _, o := range config.Options(&cfg) {
		f := cmd.Flags().Lookup(o.Flag())
		if f == nil || !f.Changed {
			continue
		}
		if err := o.Set(f.Value.String()); err != nil {
			return cfg, fault.New(fault.Invalid, "--%s: %w", o.Flag(), err)
		}
	}
	return cfg, cfg.Check()
}

func (c *command) volumes() *cobra.Command {
	return &cobra.Command{
		Use: volumesCommand + " SETTINGS", Short: "Serve volumes for containers; started by the worker", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return volume.Main(cmd.Context(), args[0], Version, os.Stdout)
		},
	}
}

func (c *command) keeper() *cobra.Command {
	return &cobra.Command{
		Use: keeperCommand + " SETTINGS", Short: "Serve images for sandboxes; started by the worker", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return keeper.Main(cmd.Context(), args[0], Version, os.Stdout)
		},
	}
}

func (c *command) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(c.out, "skerryd %s\n", Version)
			return err
		},
	}
}
