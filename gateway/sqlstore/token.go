package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/fault"
)

var _ identity.Store = (*DB)(nil)

// CreateToken implements identity.Store.
func (d *DB) CreateToken(ctx context.Context, r identity.Record) error {
	_, err := d.writer.ExecContext(ctx, `INSERT INTO tokens (id, name, role, secret_hash, created_at) VALUES ($1, $2, $3, $4, $5)`,
		r.ID, r.Name, string(r.Role), r.SecretHash, millis(r.CreatedAt))
	if err != nil {
		return fmt.Errorf("token %q: %w", r.ID, err)
	}
	return nil
}

// Token implements identity.Store.
func (d *DB) Token(ctx context.Context, id string) (*identity.Record, error) {
	var r identity.Record
	var created int64
	err := d.reader.QueryRowContext(ctx, `SELECT id, name, role, secret_hash, created_at FROM tokens WHERE id = $1`, id).
		Scan(&r.ID, &r.Name, &r.Role, &r.SecretHash, &created)
	if err != nil {
		return nil, missing(err, "token", id)
	}
	r.CreatedAt = fromMillis(created)
	return &r, nil
}

// CountTokens implements identity.Store.
func (d *DB) CountTokens(ctx context.Context, role identity.Role) (n int, err error) {
	err = d.reader.QueryRowContext(ctx, `SELECT COUNT(*) FROM tokens WHERE role = $1`, string(role)).Scan(&n)
	return n, err
}

// missing names what a query was for: a fault.NotFound where there is no row.
func missing(err error, noun, key string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "%s %q: there is none", noun, key)
	}
	return fmt.Errorf("%s %q: %w", noun, key, err)
}
