package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/gateway/backup"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/server"
	"github.com/skerry-dev/skerry/internal/config"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

func (c *command) restore() *cobra.Command {
	replace := false
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put back what skerryd backup has copied",
		Long: `Put what a backup holds into an installation that is new: its data folder, or the
database, servers and bucket of the settings, which need not be of the kind that the
backup was made of. No skerryd may run on it. If it is interrupted, run it again.

Where the backup has the master key, that is put back as well. If it has not, copy
master.key into the data folder's gateway folder before skerryd starts.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			return c.readBackup(cmd.Context(), cfg, args[0], replace)
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "also where there is something already, which is lost")
	c.bindStores(cmd)
	return cmd
}

func (c *command) readBackup(ctx context.Context, cfg config.Config, from string, replace bool) (err error) {
	lock, err := lockPID(cfg.PIDFile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer f.Close()
	stores, closeAll, err := openStores(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	if empty, err := stores.Records.Empty(ctx); err != nil || !empty && !replace {
		return errors.Join(err, fault.New(fault.Precondition, "restore: there is an installation already; give another data folder or database, or --replace"))
	}
	scratch, forget, err := newScratch(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, forget()) }()
	done, err := backup.Read(ctx, stores, f, scratch, c.progress())
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	key := server.MasterKey(gatewayDir(cfg))
	note := "secrets need " + key + " of the installation that was copied"
	if done.Keys != nil {
		if err := server.WriteMasterKeys(gatewayDir(cfg), done.Keys); err != nil {
			return err
		}
		note = "with the master key"
	} else if _, err := os.Stat(key); err == nil {
		note = "secrets are opened with the master key that is there"
	}
	_, err = fmt.Fprintf(c.out, "restored %d records, %d streams, %d blobs; %s\n", done.Rows, done.Streams, done.Blobs+done.Kept, note)
	return err
}

// newScratch makes a folder for what has to wait; what an earlier process has left there goes.
func newScratch(cfg config.Config) (path string, forget func() error, err error) {
	path = filepath.Join(cfg.Data, "scratch")
	if err := errors.Join(os.RemoveAll(path), os.MkdirAll(path, 0o700)); err != nil {
		return "", nil, err
	}
	return path, func() error { return os.RemoveAll(path) }, nil
}

func (c *command) migrate() *cobra.Command {
	var db, nats, blobs string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Move an installation into a database, servers or a bucket elsewhere",
		Long: `Copy all that an installation keeps to where --to-db, --to-nats and --to-blobs say; what
is not named stays where it is. No skerryd may run on it. What is there afterwards is
checked: contents by their digests, records in one transaction. If it is interrupted,
run it again: it goes on. What was copied stays as it was, until somebody removes it.

Then start skerryd with the same places as --db, --nats and --blobs. The data folder
goes on being used: the master key and what workers keep are there.`,
		Example: `  skerryd migrate --to-db postgres://skerry@db/skerry --to-nats nats://a,nats://b,nats://c --to-blobs s3://skerry?region=eu-west-1`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.load(cmd)
			if err != nil {
				return err
			}
			if db == "" && nats == "" && blobs == "" {
				return fault.New(fault.Invalid, "migrate: want --to-db, --to-nats or --to-blobs")
			}
			to := cfg
			for _, s := range []struct {
				target *string
				value  string
			}{{&to.DB, db}, {&to.NATS, nats}, {&to.Blobs, blobs}} {
				if s.value != "" {
					*s.target = s.value
				}
			}
			return c.moveAll(cmd.Context(), cfg, to)
		},
	}
	cmd.Flags().StringVar(&db, "to-db", "", "PostgreSQL database for the records")
	cmd.Flags().StringVar(&nats, "to-nats", "", "NATS servers for the messages")
	cmd.Flags().StringVar(&blobs, "to-blobs", "", "bucket, or another folder, for images, code and payloads")
	c.bindStores(cmd)
	return cmd
}

func (c *command) moveAll(ctx context.Context, from, to config.Config) (err error) {
	lock, err := lockPID(from.PIDFile())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	begun, err := beginMove(ctx, from, to)
	if err != nil {
		return err
	}
	old, closeOld, err := openStores(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOld()) }()
	stores, closeNew, err := openTarget(ctx, from, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeNew()) }()
	scratch, forget, err := newScratch(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, forget()) }()
	done, err := backup.Move(ctx, old, stores, scratch, c.progress())
	if err != nil {
		return fmt.Errorf("migrate: %w; run it again to go on", err)
	}
	if err := os.Remove(begun); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "moved %d records, %d streams, %d blobs (%d were there); start skerryd with --db, --nats and --blobs as they are now\n",
		done.Rows, done.Streams, done.Blobs+done.Kept, done.Kept)
	return err
}

// openTarget opens the stores that a move goes to; fields of those that stay are nil.
func openTarget(ctx context.Context, from, to config.Config) (stores backup.Stores, closeAll func() error, err error) {
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	unused, err := os.MkdirTemp(from.Data, "unused-")
	if err != nil {
		return stores, nil, err
	}
	remove := func() error { return os.RemoveAll(unused) }
	undo.Add(func() { _ = remove() }) // the first error is the one to show
	// What stays is not opened a second time, for files have one user: something empty is in its place.
	target := to
	target.Data = unused
	for _, s := range []struct{ target, from *string }{{&target.DB, &from.DB}, {&target.NATS, &from.NATS}, {&target.Blobs, &from.Blobs}} {
		if *s.target == *s.from {
			*s.target = ""
		}
	}
	stores, closeStores, err := openStores(ctx, target)
	if err != nil {
		return stores, nil, err
	}
	undo.Add(func() { _ = closeStores() }) // likewise
	empty, err := stores.Records.Empty(ctx)
	if err == nil && !empty {
		err = fault.New(fault.Precondition, "migrate: the database has records already; if they are of a migration that has ended, start skerryd with it")
	}
	if err != nil {
		return stores, nil, err
	}
	if target.DB == "" {
		stores.Records = nil
	}
	if target.NATS == "" {
		stores.Flow = nil
	}
	if target.Blobs == "" {
		stores.Blobs = nil
	}
	undo.Release()
	return stores, func() error { return errors.Join(closeStores(), remove()) }, nil
}

// beginMove notes where a move goes to, so that one that was interrupted may go on: servers that have streams already are refused otherwise, since
// those of the same names would be lost.
func beginMove(ctx context.Context, from, to config.Config) (mark string, err error) {
	mark = filepath.Join(from.Data, "migration")
	text := to.DB + "\n" + to.NATS + "\n" + to.Blobs + "\n"
	if noted, err := os.ReadFile(mark); err == nil && string(noted) == text {
		return mark, nil
	}
	if to.NATS != from.NATS {
		used, err := jetstream.Used(ctx, gatewayConfig(to).Cluster, newLogger(to))
		if err != nil {
			return "", err
		}
		if used {
			return "", fault.New(fault.Precondition, "migrate: the NATS servers have streams already; give others, or an account of its own")
		}
	}
	return mark, os.WriteFile(mark, []byte(text), 0o600)
}
