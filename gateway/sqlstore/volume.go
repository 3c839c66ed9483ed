package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/gateway/volume"
)

var _ volume.Store = (*DB)(nil)

// CreateVolume implements volume.Store.
func (d *DB) CreateVolume(ctx context.Context, o *object.Object, seen time.Time, first volume.Version) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := insertObject(ctx, tx, o, seen); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO volume_heads (volume_id, head) VALUES ($1, $2)`, o.ID, int64(first.Number)); err != nil {
			return fmt.Errorf("volume %q: %w", o.ID, err)
		}
		return insertVersion(ctx, tx, o.ID, first)
	})
}

// DropVersions implements volume.Store.
func (d *DB) DropVersions(ctx context.Context, volumeID string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"volume_heads", "volume_versions"} {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE volume_id = $1`, volumeID); err != nil {
				return fmt.Errorf("volume %q: %w", volumeID, err)
			}
		}
		return nil
	})
}
