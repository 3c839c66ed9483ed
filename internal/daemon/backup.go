package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/gateway/backup"
	"github.com/skerry-dev/skerry/gateway/server"
	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
)

// withKey is the parameter of a request for a backup that has the master key in it.
const withKey = "master_key"

// backupSocket is where a running skerryd writes backups to those who may open it: root.
func backupSocket(cfg config.Config) string { return filepath.Join(cfg.RunDir(), "backup.sock") }

func (c *command) backup() *cobra.Command {
	var key bool
	cmd := &cobra.Command{
		Use:   "backup FILE|FOLDER",
		Short: "Copy all that is kept into a file, while skerryd runs or not",
		Long: `Copy all that an installation keeps into one file: records, messages, images, code and
payloads, wherever the settings say that these are. Skerryd may run, and go on; the
copy is of a moment, and what comes after that is not in it. A folder gets a file that
is named after the time. An earlier file of the name is replaced once the new one is whole.

The master key, which opens stored secrets, is not in it unless --with-master-key is
given: keep master.key of the data folder's gateway folder elsewhere, or that file as
safe as the secrets.`,
		Example: "  skerryd backup /backups/\n  skerryd backup --with-master-key /safe/skerry.tar",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			return c.writeBackup(cmd.Context(), cfg, args[0], key)
		},
	}
	cmd.Flags().BoolVar(&key, "with-master-key", false, "put the master key into the file: whoever reads it can then read all secrets")
	c.bindStores(cmd)
	return cmd
}

// bindStores gives a command the flags that say where things are kept.
func (c *command) bindStores(cmd *cobra.Command) {
	c.bind(cmd, "data", "run", "db", "nats", "nats_credentials", "nats_ca", "nats_replicas", "blobs", "log_format", "log_level")
}

// writeBackup writes a file beside its place, and puts it there when it is whole and on disk.
func (c *command) writeBackup(ctx context.Context, cfg config.Config, to string, key bool) (err error) {
	if st, err := os.Stat(to); err == nil && st.IsDir() {
		to = filepath.Join(to, "skerry-"+time.Now().UTC().Format("20060102-150405")+".tar")
	}
	f, err := os.OpenFile(to+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := c.copyInto(ctx, cfg, f, key); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := errors.Join(f.Close(), os.Rename(f.Name(), to)); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	note := "without the master key: keep " + server.MasterKey(gatewayDir(cfg)) + " elsewhere"
	if key {
		note = "with the master key: whoever reads it can read all secrets"
	}
	_, err = fmt.Fprintf(c.out, "%s: %d bytes, %s\n", to, size, note)
	return err
}

// copyInto has the skerryd that runs write a backup, or writes it itself where none does.
func (c *command) copyInto(ctx context.Context, cfg config.Config, to io.Writer, key bool) (err error) {
	lock, err := lockPID(cfg.PIDFile())
	if errors.Is(err, fault.Exists) {
		return askForBackup(ctx, backupSocket(cfg), to, key)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	stores, closeAll, err := openStores(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	return writeStores(ctx, cfg, stores, to, key, c.progress())
}

func writeStores(ctx context.Context, cfg config.Config, stores backup.Stores, to io.Writer, key bool, tell backup.Progress) error {
	var keys *backup.MasterKeys
	if key {
		var err error
		if keys, err = server.ReadMasterKeys(gatewayDir(cfg)); err != nil {
			return err
		}
	}
	return backup.Write(ctx, stores, to, keys, tell)
}

// openStores opens what the settings say.
func openStores(ctx context.Context, cfg config.Config) (stores backup.Stores, closeAll func() error, err error) {
	blobs, err := openBlobs(ctx, cfg)
	if err != nil {
		return stores, nil, err
	}
	stores, closeRest, err := server.OpenStores(ctx, gatewayConfig(cfg), blobs, newLogger(cfg))
	if err != nil {
		return stores, nil, errors.Join(err, blobs.Close())
	}
	return stores, func() error { return errors.Join(closeRest(), blobs.Close()) }, nil
}

func askForBackup(ctx context.Context, socket string, to io.Writer, key bool) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	url := "http://skerryd/backup"
	if key {
		url += "?" + withKey + "=1"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return fault.New(fault.Unavailable, "the skerryd that runs does not answer at %s; is --run the same? %w", socket, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10)) // as much as there is
		return fault.New(fault.Unavailable, "backup: %s: %s", answer.Status, text)
	}
	if _, err := io.Copy(to, answer.Body); err != nil {
		return fmt.Errorf("backup: was broken off; the log of skerryd has the cause: %w", err)
	}
	return nil
}

// serveBackups writes backups while the gateway runs.
func (n *node) serveBackups(ctx context.Context) error {
	path := backupSocket(n.cfg)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("backup socket: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("backup socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("backup socket: %w", err), l.Close())
	}
	s := &http.Server{Handler: http.HandlerFunc(n.answerBackup), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // a backup that is under way is broken off
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (n *node) answerBackup(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/backup" {
		http.NotFound(w, r)
		return
	}
	n.log.Info("backup begins", "master_key", r.FormValue(withKey) != "")
	if err := writeStores(r.Context(), n.cfg, n.gateway.Stores(), w, r.FormValue(withKey) != "", func(backup.Done) {}); err != nil {
		n.log.Error("backup broken off", "error", err)
		panic(http.ErrAbortHandler) // so that what was sent does not pass for whole
	}
	n.log.Info("backup written")
}

// progress tells people what has been done, not more than once a second.
func (c *command) progress() backup.Progress {
	var last time.Time
	return func(d backup.Done) {
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		fmt.Fprintf(c.err, "%d blobs (%d MiB; %d were there), %d streams, %d records\n", d.Blobs, d.Bytes>>20, d.Kept, d.Streams, d.Rows)
	}
}
