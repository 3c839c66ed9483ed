package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/fault"
)

var _ identity.Store = (*DB)(nil)

// CreateToken implements identity.Store.
func (d *DB) CreateToken(ctx context.Context, r identity.Record) error {
	environments := ""
	if len(r.Environments) > 0 {
		list, err := json.Marshal(r.Environments)
		if err != nil {
			return fmt.Errorf("token %q: %w", r.ID, err)
		}
		environments = string(list)
	}
	_, err := d.writer.ExecContext(ctx, `
		INSERT INTO tokens (id, name, role, secret_hash, created_at, environments) VALUES ($1, $2, $3, $4, $5, $6)`,
		r.ID, r.Name, string(r.Role), r.SecretHash, millis(r.CreatedAt), environments)
	if err != nil {
		return fmt.Errorf("token %q: %w", r.ID, err)
	}
	return nil
}

// Token implements identity.Store.
func (d *DB) Token(ctx context.Context, id string) (*identity.Record, error) {
	var r identity.Record
	var created int64
	var environments string
	err := d.reader.QueryRowContext(ctx, `SELECT id, name, role, secret_hash, created_at, environments FROM tokens WHERE id = $1`, id).
		Scan(&r.ID, &r.Name, &r.Role, &r.SecretHash, &created, &environments)
	if err != nil {
		return nil, missing(err, "token", id)
	}
	r.CreatedAt = fromMillis(created)
	if environments == "" {
		return &r, nil
	}
	// A token whose limits can't be read must not be one without limits.
	if err := json.Unmarshal([]byte(environments), &r.Environments); err != nil || len(r.Environments) == 0 {
		return nil, fault.New(fault.DataLoss, "token %q: its environments can't be read", id)
	}
	return &r, nil
}

// CountTokens implements identity.Store.
func (d *DB) CountTokens(ctx context.Context, role identity.Role) (n int, err error) {
	err = d.reader.QueryRowContext(ctx, `SELECT COUNT(*) FROM tokens WHERE role = $1`, string(role)).Scan(&n)
	return n, err
}
