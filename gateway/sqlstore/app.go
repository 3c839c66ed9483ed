package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/internal/fault"
)

var (
	_ app.Store    = (*DB)(nil)
	_ app.Versions = (*DB)(nil)
)

const appColumns = `id, environment, name, description, state, stop_reason, version, tags, created_at, stopped_at`

// row is a row or rows.
type row interface{ Scan(dest ...any) error }

func scanApp(r row) (*app.App, error) {
	var a app.App
	var tags string
	var created int64
	var stopped sql.NullInt64
	err := r.Scan(&a.ID, &a.Environment, &a.Name, &a.Description, &a.State, &a.StopReason, &a.Version, &tags, &created, &stopped)
	if err != nil {
		return nil, err
	}
	a.CreatedAt = fromMillis(created)
	if stopped.Valid {
		a.StoppedAt = fromMillis(stopped.Int64)
	}
	return &a, json.Unmarshal([]byte(tags), &a.Tags)
}

// CreateApp implements app.Store.
func (d *DB) CreateApp(ctx context.Context, a app.App) error {
	tags, err := json.Marshal(a.Tags)
	if err != nil {
		return fmt.Errorf("app %q: %w", a.ID, err)
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := enter(ctx, tx, a.Environment); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO apps (id, environment, name, description, state, stop_reason, version, tags, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			a.ID, a.Environment, a.Name, a.Description, a.State, a.StopReason, a.Version, string(tags), millis(a.CreatedAt))
		if err != nil {
			return fmt.Errorf("app %q: %w", a.ID, err)
		}
		return nil
	})
}

// App implements app.Store.
func (d *DB) App(ctx context.Context, id string) (*app.App, error) {
	a, err := scanApp(d.reader.QueryRowContext(ctx, `SELECT `+appColumns+` FROM apps WHERE id = $1`, id))
	if err != nil {
		return nil, missing(err, "app", id)
	}
	return a, nil
}

const appByName = `SELECT ` + appColumns + ` FROM apps WHERE environment = $1 AND name = $2 AND state = $3`

// AppByName implements app.Store.
func (d *DB) AppByName(ctx context.Context, environment, name string) (*app.App, error) {
	a, err := scanApp(d.reader.QueryRowContext(ctx, appByName, environment, name, app.Deployed))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "app %q is not deployed in environment %q; skerry app list shows the apps there are",
			name, d.environmentName(ctx, environment))
	}
	if err != nil {
		return nil, fmt.Errorf("app %q: %w", name, err)
	}
	return a, nil
}

// SetAppState implements app.Store.
func (d *DB) SetAppState(ctx context.Context, id string, state app.State, reason app.StopReason, at time.Time) (bool, error) {
	var stopped sql.NullInt64
	if state == app.Stopped {
		stopped = sql.NullInt64{Int64: millis(at), Valid: true}
	}
	moved := false
	err := d.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE apps SET state = $1, stop_reason = $2, stopped_at = $3 WHERE id = $4 AND state < $1`,
			state, reason, stopped, id)
		if err != nil {
			return fmt.Errorf("app %q: %w", id, err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return fmt.Errorf("app %q: %w", id, err)
		}
		moved = n > 0
		if moved {
			return nil
		}
		var there int
		return missingOrNil(tx.QueryRowContext(ctx, `SELECT 1 FROM apps WHERE id = $1`, id).Scan(&there), "app", id)
	})
	return moved, err
}

// ExpireApp implements app.Store.
func (d *DB) ExpireApp(ctx context.Context, id string, from app.State, reason app.StopReason) (bool, error) {
	res, err := d.writer.ExecContext(ctx, `UPDATE apps SET state = $1, stop_reason = $2 WHERE id = $3 AND state = $4`, app.Stopping, reason, id, from)
	if err != nil {
		return false, fmt.Errorf("app %q: %w", id, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func missingOrNil(err error, noun, key string) error {
	if err == nil {
		return nil
	}
	return missing(err, noun, key)
}

// SetTags implements app.Store.
func (d *DB) SetTags(ctx context.Context, id string, tags map[string]string) error {
	text, err := json.Marshal(tags)
	if err != nil {
		return fmt.Errorf("app %q: %w", id, err)
	}
	res, err := d.writer.ExecContext(ctx, `UPDATE apps SET tags = $1 WHERE id = $2`, string(text), id)
	if err != nil {
		return fmt.Errorf("app %q: %w", id, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return missing(errors.Join(err, sql.ErrNoRows), "app", id)
	}
	return nil
}

// Apps implements app.Store.
func (d *DB) Apps(ctx context.Context, environment string, stoppedSince time.Time) ([]app.App, error) {
	rows, err := d.reader.QueryContext(ctx, `
		SELECT `+appColumns+` FROM apps
		WHERE ($1 = '' OR environment = $1) AND (state < $2 OR (stopped_at >= $3 AND stop_reason <> $4))
		ORDER BY created_at DESC, id`, environment, app.Stopped, millis(stoppedSince), app.Moved)
	if err != nil {
		return nil, fmt.Errorf("apps: %w", err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	var apps []app.App
	for rows.Next() {
		a, err := scanApp(rows)
		if err != nil {
			return nil, fmt.Errorf("apps: %w", err)
		}
		apps = append(apps, *a)
	}
	return apps, rows.Err()
}

// Deployments implements app.Versions.
func (d *DB) Deployments(ctx context.Context, appID string) ([]app.Deployment, error) {
	rows, err := d.reader.QueryContext(ctx, `
		SELECT version, deployed_at, client_version, deployed_by, tag, commit_info FROM deployments
		WHERE app_id = $1 ORDER BY version DESC`, appID)
	if err != nil {
		return nil, fmt.Errorf("deployments of app %q: %w", appID, err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	var list []app.Deployment
	for rows.Next() {
		var p app.Deployment
		var at int64
		var commit string
		if err := rows.Scan(&p.Version, &at, &p.ClientVersion, &p.DeployedBy, &p.Tag, &commit); err != nil {
			return nil, fmt.Errorf("deployments of app %q: %w", appID, err)
		}
		p.DeployedAt = fromMillis(at)
		if err := json.Unmarshal([]byte(commit), &p.Commit); err != nil {
			return nil, fmt.Errorf("deployments of app %q: %w", appID, err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}
