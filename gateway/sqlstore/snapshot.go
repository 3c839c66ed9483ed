package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/snapshot"
)

var _ snapshot.Store = (*DB)(nil)

// PutSnapshot implements snapshot.Store.
func (d *DB) PutSnapshot(ctx context.Context, s snapshot.Snapshot) error {
	record, err := json.Marshal(s.Sandbox)
	if err != nil {
		return fmt.Errorf("snapshot %q: %w", s.ID, err)
	}
	var expires sql.NullInt64
	if !s.ExpiresAt.IsZero() {
		expires = sql.NullInt64{Int64: millis(s.ExpiresAt), Valid: true}
	}
	_, err = d.writer.ExecContext(ctx, `
		INSERT INTO snapshots (id, worker_id, manifest, size, created_at, expires_at, record) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		s.ID, s.WorkerID, s.Manifest, int64(s.Size), millis(s.CreatedAt), expires, string(record))
	if err != nil {
		return fmt.Errorf("snapshot %q: %w", s.ID, err)
	}
	return nil
}

const snapshotColumns = `SELECT id, worker_id, manifest, size, created_at, expires_at, record FROM snapshots WHERE `

func scanSnapshot(scan func(...any) error) (*snapshot.Snapshot, error) {
	s := &snapshot.Snapshot{}
	var size, created int64
	var expires sql.NullInt64
	var record string
	if err := scan(&s.ID, &s.WorkerID, &s.Manifest, &size, &created, &expires, &record); err != nil {
		return nil, err
	}
	s.Size, s.CreatedAt = uint64(size), fromMillis(created) //nolint:gosec // as it was stored
	if expires.Valid {
		s.ExpiresAt = fromMillis(expires.Int64)
	}
	return s, json.Unmarshal([]byte(record), &s.Sandbox)
}

// Snapshot implements snapshot.Store.
func (d *DB) Snapshot(ctx context.Context, id string) (*snapshot.Snapshot, error) {
	s, err := scanSnapshot(d.reader.QueryRowContext(ctx, snapshotColumns+`id = $1`, id).Scan)
	if err != nil {
		return nil, missing(err, "snapshot", id)
	}
	return s, nil
}

// DeleteSnapshot implements snapshot.Store.
func (d *DB) DeleteSnapshot(ctx context.Context, id string) error {
	res, err := d.writer.ExecContext(ctx, `DELETE FROM snapshots WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("snapshot %q: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return missing(sql.ErrNoRows, "snapshot", id)
	}
	return nil
}

// ExpiredSnapshots implements snapshot.Store.
func (d *DB) ExpiredSnapshots(ctx context.Context, before time.Time) (out []snapshot.Snapshot, err error) {
	err = d.each(ctx, func(rows *sql.Rows) error {
		s, err := scanSnapshot(rows.Scan)
		if err == nil {
			out = append(out, *s)
		}
		return err
	}, snapshotColumns+`expires_at < $1`, millis(before))
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	return out, nil
}

// SnapshotFiles hands over the manifests of all snapshots that are in the blob store.
func (d *DB) SnapshotFiles(ctx context.Context, add func(digest string) error) error {
	err := d.each(ctx, func(rows *sql.Rows) error {
		var digest string
		if err := rows.Scan(&digest); err != nil {
			return err
		}
		return add(digest)
	}, `SELECT manifest FROM snapshots WHERE manifest <> ''`)
	if err != nil {
		return fmt.Errorf("references of snapshots: %w", err)
	}
	return nil
}
