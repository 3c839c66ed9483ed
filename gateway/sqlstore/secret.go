package sqlstore

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/internal/fault"
)

var (
	_ secret.Store    = (*DB)(nil)
	_ secret.Rotation = (*DB)(nil)
)

const secretColumns = `id, app_id, environment, name, created_by, key_id, sealed_key, sealed, created_at, last_used_at`

func encoded(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func scanSecret(r row) (*secret.Record, error) {
	var s secret.Record
	var app sql.NullString
	var key, content string
	var created int64
	var used sql.NullInt64
	err := r.Scan(&s.ID, &app, &s.Environment, &s.Name, &s.CreatedBy, &s.Sealed.KeyID, &key, &content, &created, &used)
	if err != nil {
		return nil, err
	}
	s.AppID, s.CreatedAt = app.String, fromMillis(created)
	if used.Valid {
		s.LastUsedAt = fromMillis(used.Int64)
	}
	var errs [2]error
	s.Sealed.Key, errs[0] = base64.StdEncoding.DecodeString(key)
	s.Sealed.Content, errs[1] = base64.StdEncoding.DecodeString(content)
	if errors.Join(errs[:]...) != nil {
		return nil, fault.New(fault.DataLoss, "secret %q: stored content is malformed", s.ID)
	}
	return &s, nil
}

func (d *DB) secrets(ctx context.Context, query string, args ...any) ([]secret.Record, error) {
	rows, err := d.reader.QueryContext(ctx, `SELECT `+secretColumns+` FROM secrets `+query, args...)
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	var list []secret.Record
	for rows.Next() {
		s, err := scanSecret(rows)
		if err != nil {
			return nil, fmt.Errorf("secrets: %w", err)
		}
		list = append(list, *s)
	}
	return list, rows.Err()
}

// CreateSecret implements secret.Store.
func (d *DB) CreateSecret(ctx context.Context, r *secret.Record) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if r.Name == "" {
			a, err := scanApp(tx.QueryRowContext(ctx, `SELECT `+appColumns+` FROM apps WHERE id = $1`, r.AppID))
			if err != nil {
				return missing(err, "app", r.AppID)
			}
			if !a.Living() {
				return fault.New(fault.Precondition, "app %q: is stopped and takes no secrets", r.AppID)
			}
		} else if err := d.nameSecret(ctx, tx, r); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO secrets (id, app_id, environment, name, created_by, key_id, sealed_key, sealed, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			r.ID, sql.NullString{String: r.AppID, Valid: r.AppID != ""}, r.Environment, r.Name, r.CreatedBy,
			r.Sealed.KeyID, encoded(r.Sealed.Key), encoded(r.Sealed.Content), millis(r.CreatedAt))
		if err != nil {
			return fmt.Errorf("secret %q: %w", r.ID, err)
		}
		return nil
	})
}

// nameSecret checks that a secret may have its name, and gives it a time of its own.
func (d *DB) nameSecret(ctx context.Context, tx *sql.Tx, r *secret.Record) error {
	if err := enter(ctx, tx, r.Environment); err != nil {
		return err
	}
	var there int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM secrets WHERE environment = $1 AND name = $2`, r.Environment, r.Name).Scan(&there)
	if err == nil {
		return fault.New(fault.Exists, "secret %q: there is one of that name already", r.Name)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("secret %q: %w", r.Name, err)
	}
	// Pages of a list go on from a moment: no two may have the same.
	var newest int64
	err = tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(created_at), 0) FROM secrets WHERE environment = $1 AND name <> ''`, r.Environment).Scan(&newest)
	if err != nil {
		return fmt.Errorf("secret %q: %w", r.Name, err)
	}
	r.CreatedAt = fromMillis(max(millis(r.CreatedAt), newest+1))
	return nil
}

// Secret implements secret.Store.
func (d *DB) Secret(ctx context.Context, id string) (*secret.Record, error) {
	s, err := scanSecret(d.reader.QueryRowContext(ctx, `SELECT `+secretColumns+` FROM secrets WHERE id = $1`, id))
	if err != nil {
		return nil, missing(err, "secret", id)
	}
	return s, nil
}

// NamedSecret implements secret.Store.
func (d *DB) NamedSecret(ctx context.Context, environment, name string) (*secret.Record, error) {
	s, err := scanSecret(d.reader.QueryRowContext(ctx, `SELECT `+secretColumns+` FROM secrets WHERE environment = $1 AND name = $2 AND name <> ''`,
		environment, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "secret %q: there is none in environment %q; make it with: skerry secret create %s KEY=VALUE",
			name, d.environmentName(ctx, environment), name)
	}
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	return s, nil
}

// Secrets implements secret.Store.
func (d *DB) Secrets(ctx context.Context, environment string, before time.Time, limit int) ([]secret.Record, error) {
	return d.secrets(ctx, `WHERE environment = $1 AND name <> '' AND created_at < $2 ORDER BY created_at DESC, id LIMIT $3`,
		environment, millis(before), limit)
}

// DeleteSecret implements secret.Store.
func (d *DB) DeleteSecret(ctx context.Context, id string) error {
	res, err := d.writer.ExecContext(ctx, `DELETE FROM secrets WHERE id = $1`, id)
	return changed(res, err, "secret", id)
}

// DeleteAppSecrets implements secret.Store.
func (d *DB) DeleteAppSecrets(ctx context.Context, appID string) error {
	if _, err := d.writer.ExecContext(ctx, `DELETE FROM secrets WHERE app_id = $1`, appID); err != nil {
		return fmt.Errorf("secrets of app %q: %w", appID, err)
	}
	return nil
}

// DeleteNamedSecrets deletes the secrets that have a name in an environment.
func (d *DB) DeleteNamedSecrets(ctx context.Context, environment string) error {
	if _, err := d.writer.ExecContext(ctx, `DELETE FROM secrets WHERE environment = $1 AND name <> ''`, environment); err != nil {
		return fmt.Errorf("secrets of environment %q: %w", environment, err)
	}
	return nil
}

// SecretsUsed implements secret.Store.
func (d *DB) SecretsUsed(ctx context.Context, ids []string, at time.Time) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, `UPDATE secrets SET last_used_at = $1 WHERE id = $2`, millis(at), id); err != nil {
				return fmt.Errorf("secret %q: %w", id, err)
			}
		}
		return nil
	})
}

// AdoptKey implements secret.Rotation.
func (d *DB) AdoptKey(ctx context.Context, keyID string) error {
	if _, err := d.writer.ExecContext(ctx, `UPDATE secrets SET key_id = $1 WHERE key_id = ''`, keyID); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	return nil
}

// UnderOthers implements secret.Rotation.
func (d *DB) UnderOthers(ctx context.Context, keyID string, limit int) ([]secret.Record, error) {
	return d.secrets(ctx, `WHERE key_id <> $1 ORDER BY id LIMIT $2`, keyID, limit)
}

// ReplaceSealed implements secret.Rotation.
func (d *DB) ReplaceSealed(ctx context.Context, id string, old, sealed secret.Sealed) (bool, error) {
	done := false
	err := d.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE secrets SET key_id = $1, sealed_key = $2, sealed = $3 WHERE id = $4 AND sealed_key = $5 AND sealed = $6`,
			sealed.KeyID, encoded(sealed.Key), encoded(sealed.Content), id, encoded(old.Key), encoded(old.Content))
		if err != nil {
			return fmt.Errorf("secret %q: %w", id, err)
		}
		n, err := res.RowsAffected()
		if done = n > 0; done || err != nil {
			return err
		}
		var there int
		return missingOrNil(tx.QueryRowContext(ctx, `SELECT 1 FROM secrets WHERE id = $1`, id).Scan(&there), "secret", id)
	})
	return done && err == nil, err
}
