package sqlstore

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/internal/fault"
)

var _ secret.Store = (*DB)(nil)

// CreateSecret implements secret.Store.
func (d *DB) CreateSecret(ctx context.Context, r secret.Record) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		a, err := scanApp(tx.QueryRowContext(ctx, `SELECT `+appColumns+` FROM apps WHERE id = $1`, r.AppID))
		if err != nil {
			return missing(err, "app", r.AppID)
		}
		if !a.Living() {
			return fault.New(fault.Precondition, "app %q: is stopped and takes no secrets", r.AppID)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO secrets (id, app_id, sealed, created_at) VALUES ($1, $2, $3, $4)`,
			r.ID, r.AppID, base64.StdEncoding.EncodeToString(r.Sealed), millis(r.CreatedAt))
		if err != nil {
			return fmt.Errorf("secret %q: %w", r.ID, err)
		}
		return nil
	})
}

// Secret implements secret.Store.
func (d *DB) Secret(ctx context.Context, id string) (*secret.Record, error) {
	r := &secret.Record{ID: id}
	var sealed string
	var created int64
	err := d.reader.QueryRowContext(ctx, `SELECT app_id, sealed, created_at FROM secrets WHERE id = $1`, id).
		Scan(&r.AppID, &sealed, &created)
	if err != nil {
		return nil, missing(err, "secret", id)
	}
	if r.Sealed, err = base64.StdEncoding.DecodeString(sealed); err != nil {
		return nil, fault.New(fault.DataLoss, "secret %q: stored content is malformed", id)
	}
	r.CreatedAt = fromMillis(created)
	return r, nil
}

// DeleteAppSecrets implements secret.Store.
func (d *DB) DeleteAppSecrets(ctx context.Context, appID string) error {
	if _, err := d.writer.ExecContext(ctx, `DELETE FROM secrets WHERE app_id = $1`, appID); err != nil {
		return fmt.Errorf("secrets of app %q: %w", appID, err)
	}
	return nil
}
