package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/sandbox"
	"github.com/skerry-dev/skerry/internal/fault"
)

var _ sandbox.Store = (*DB)(nil)

// PutSandboxes implements sandbox.Store.
func (d *DB) PutSandboxes(ctx context.Context, list []sandbox.Sandbox) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		for i := range list {
			if err := putSandbox(ctx, tx, &list[i]); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM sandboxes WHERE ended_at < $1`, millis(time.Now().Add(-sandbox.Kept))); err != nil {
			return fmt.Errorf("sandboxes: %w", err)
		}
		return nil
	})
}

func putSandbox(ctx context.Context, tx *sql.Tx, sb *sandbox.Sandbox) error {
	record, err := json.Marshal(sb)
	if err != nil {
		return fmt.Errorf("sandbox %q: %w", sb.ID, err)
	}
	var ended sql.NullInt64
	if sb.End != nil {
		ended = sql.NullInt64{Int64: millis(sb.End.At), Valid: true}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO sandboxes (id, app_id, created_at, ended_at, record) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, record = excluded.record`,
		sb.ID, sb.AppID, sb.CreatedAt.UnixNano(), ended, string(record))
	if err != nil {
		return fmt.Errorf("sandbox %q: %w", sb.ID, err)
	}
	return nil
}

// Sandbox implements sandbox.Store.
func (d *DB) Sandbox(ctx context.Context, id string) (*sandbox.Sandbox, error) {
	var record string
	if err := d.reader.QueryRowContext(ctx, `SELECT record FROM sandboxes WHERE id = $1`, id).Scan(&record); err != nil {
		return nil, missing(err, "sandbox", id)
	}
	sb := &sandbox.Sandbox{}
	if err := json.Unmarshal([]byte(record), sb); err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", id, err)
	}
	return sb, nil
}

// EndedSandboxes implements sandbox.Store.
func (d *DB) EndedSandboxes(ctx context.Context, createdBefore time.Time, limit int) ([]sandbox.Sandbox, error) {
	before := int64(1<<63 - 1)
	if !createdBefore.IsZero() {
		before = createdBefore.UnixNano()
	}
	return d.sandboxes(ctx, `SELECT record FROM sandboxes WHERE ended_at IS NOT NULL AND created_at < $1 ORDER BY created_at DESC LIMIT $2`, before, limit)
}

// LiveSandboxes implements sandbox.Store.
func (d *DB) LiveSandboxes(ctx context.Context) ([]sandbox.Sandbox, error) {
	return d.sandboxes(ctx, `SELECT record FROM sandboxes WHERE ended_at IS NULL`)
}

func (d *DB) sandboxes(ctx context.Context, query string, args ...any) (out []sandbox.Sandbox, err error) {
	err = d.each(ctx, func(rows *sql.Rows) error {
		var record string
		if err := rows.Scan(&record); err != nil {
			return err
		}
		var sb sandbox.Sandbox
		if err := json.Unmarshal([]byte(record), &sb); err != nil {
			return err
		}
		out = append(out, sb)
		return nil
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("sandboxes: %w", err)
	}
	return out, nil
}

// ClaimSandboxName implements sandbox.Store.
func (d *DB) ClaimSandboxName(ctx context.Context, appID, name, id string) error {
	var owner string
	err := d.tx(ctx, func(tx *sql.Tx) error {
		// Names of sandboxes that have ended go a moment after their end; whoever comes before that takes them.
		_, err := tx.ExecContext(ctx, `DELETE FROM sandbox_names WHERE app_id = $1 AND name = $2
			AND sandbox_id IN (SELECT id FROM sandboxes WHERE ended_at IS NOT NULL)`, appID, name)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO sandbox_names (app_id, name, sandbox_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			appID, name, id)
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT sandbox_id FROM sandbox_names WHERE app_id = $1 AND name = $2`, appID, name).Scan(&owner)
	})
	if err != nil {
		return fmt.Errorf("name of sandbox %q: %w", id, err)
	}
	if owner != id {
		return fault.New(fault.Exists, "sandbox name %q: sandbox %q has it", name, owner)
	}
	return nil
}

// ReleaseSandboxNames implements sandbox.Store.
func (d *DB) ReleaseSandboxNames(ctx context.Context, id string) error {
	if _, err := d.writer.ExecContext(ctx, `DELETE FROM sandbox_names WHERE sandbox_id = $1`, id); err != nil {
		return fmt.Errorf("names of sandbox %q: %w", id, err)
	}
	return nil
}
