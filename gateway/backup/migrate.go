package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Move copies all of stores that nobody uses into others, which are replaced. It may be repeated after it was interrupted: blobs that are there stay,
// streams are put in place anew, and the records come last, in one transaction. Blobs are verified as they are read and written. Scratch is a
// folder for what has to wait. Parts that are the same store are left alone: their field in to is nil.
func Move(ctx context.Context, from, to Stores, scratch string, tell Progress) (Done, error) {
	done := &Done{}
	if to.Blobs != nil {
		if err := moveBlobs(ctx, from.Blobs, to.Blobs, done, tell); err != nil {
			return *done, err
		}
	}
	if to.Flow != nil {
		if err := moveFlow(ctx, from.Flow, to.Flow, scratch, done, tell); err != nil {
			return *done, err
		}
	}
	if to.Records != nil {
		if err := moveRecords(ctx, from.Records, to.Records, done); err != nil {
			return *done, err
		}
	}
	tell(*done)
	return *done, nil
}

func moveBlobs(ctx context.Context, from, to *blob.Store, done *Done, tell Progress) error {
	return from.List(ctx, func(e blob.Entry) (err error) {
		defer func() {
			if err == nil {
				tell(*done)
			}
		}()
		size, err := to.Claim(ctx, e.Digest)
		if err == nil && size == e.Size {
			done.Kept++
			return nil
		}
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
		r, err := from.Open(ctx, e.Digest, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(to.Put(ctx, e.Digest, e.Size, r), r.Close()); err != nil {
			return err
		}
		done.Blobs++
		done.Bytes += e.Size
		return nil
	})
}

func moveFlow(ctx context.Context, from, to Flow, scratch string, done *Done, tell Progress) error {
	names, err := from.StreamNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := moveStream(ctx, from, to, name, scratch); err != nil {
			return err
		}
		done.Streams++
		tell(*done)
	}
	return nil
}

func moveStream(ctx context.Context, from, to Flow, name, scratch string) (err error) {
	f, err := os.Create(filepath.Join(scratch, "stream"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	description, err := from.SaveStream(ctx, name, f)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return to.ReplaceStream(ctx, name, description, f)
}

// moveRecords has one database read while the other is written.
func moveRecords(ctx context.Context, from, to Records, done *Done) error {
	have, err := from.Schema(ctx)
	if err != nil {
		return err
	}
	if want, err := to.Schema(ctx); err != nil || want != have {
		return errors.Join(err, fault.New(fault.Precondition, "records: schemas %d and %d differ", have, want))
	}
	type row struct {
		table  string
		values map[string]any
	}
	rows, ended := make(chan row, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(rows)
		ended <- from.Save(ctx, func(table string, values map[string]any) error {
			select {
			case rows <- row{table, values}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return to.Replace(ctx, func() (string, map[string]any, error) {
		r, more := <-rows
		if !more {
			if err := <-ended; err != nil {
				return "", nil, err
			}
			return "", nil, io.EOF
		}
		done.Rows++
		return r.table, r.values, nil
	})
}
