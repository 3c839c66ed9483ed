package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/skerry-dev/skerry/gateway/volume"
	"github.com/skerry-dev/skerry/internal/fault"
)

var _ volume.Versions = (*DB)(nil)

const versionColumns = `number, root, request_id, created_at, created_by, reason, files, bytes`

func insertVersion(ctx context.Context, tx *sql.Tx, id string, v volume.Version) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO volume_versions (volume_id, `+versionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		id, int64(v.Number), v.Root, v.RequestID, millis(v.CreatedAt), v.CreatedBy, v.Reason, int64(v.Files), int64(v.Bytes))
	if err != nil {
		return fmt.Errorf("volume %q: version %d: %w", id, v.Number, err)
	}
	return nil
}

func scanVersion(scan func(...any) error) (*volume.Version, error) {
	v := &volume.Version{}
	var number, created, files, bytes int64
	if err := scan(&number, &v.Root, &v.RequestID, &created, &v.CreatedBy, &v.Reason, &files, &bytes); err != nil {
		return nil, err
	}
	v.Number, v.Files, v.Bytes, v.CreatedAt = uint64(number), uint64(files), uint64(bytes), fromMillis(created)
	return v, nil
}

// Version implements volume.Versions.
func (d *DB) Version(ctx context.Context, volumeID string, number uint64) (*volume.Version, error) {
	const head = `SELECT ` + versionColumns + ` FROM volume_versions WHERE volume_id = $1 AND number = (SELECT head FROM volume_heads WHERE volume_id = $1)`
	if number == 0 {
		v, err := scanVersion(d.reader.QueryRowContext(ctx, head, volumeID).Scan)
		if err != nil {
			return nil, missing(err, "volume", volumeID)
		}
		return v, nil
	}
	const one = `SELECT ` + versionColumns + ` FROM volume_versions WHERE volume_id = $1 AND number = $2`
	v, err := scanVersion(d.reader.QueryRowContext(ctx, one, volumeID, int64(number)).Scan)
	if err != nil {
		return nil, fmt.Errorf("volume %q: %w", volumeID, missing(err, "version", strconv.FormatUint(number, 10)))
	}
	return v, nil
}

// VersionOf implements volume.Versions.
func (d *DB) VersionOf(ctx context.Context, volumeID, requestID string) (*volume.Version, error) {
	const one = `SELECT ` + versionColumns + ` FROM volume_versions WHERE volume_id = $1 AND request_id = $2`
	v, err := scanVersion(d.reader.QueryRowContext(ctx, one, volumeID, requestID).Scan)
	if err != nil {
		return nil, missing(err, "version of request", requestID)
	}
	return v, nil
}

// AddVersion implements volume.Versions.
func (d *DB) AddVersion(ctx context.Context, volumeID string, v volume.Version) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		var head int64
		if err := tx.QueryRowContext(ctx, `SELECT head FROM volume_heads WHERE volume_id = $1`, volumeID).Scan(&head); err != nil {
			return missing(err, "volume", volumeID)
		}
		res, err := tx.ExecContext(ctx, `UPDATE volume_heads SET head = $1 WHERE volume_id = $2 AND head = $3`, int64(v.Number), volumeID, int64(v.Number)-1)
		if err != nil {
			return fmt.Errorf("volume %q: %w", volumeID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fault.New(fault.Precondition, "volume %q: its newest version is %d", volumeID, head)
		}
		if err := insertVersion(ctx, tx, volumeID, v); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM volume_versions WHERE volume_id = $1 AND (number <= $2 AND created_at < $3 OR number <= $4)`,
			volumeID, int64(v.Number)-volume.KeepVersions-1, millis(v.CreatedAt.Add(-volume.KeepFor)), int64(v.Number)-volume.MaxVersions-1)
		if err != nil {
			return fmt.Errorf("volume %q: %w", volumeID, err)
		}
		return nil
	})
}

// ListVersions implements volume.Versions.
func (d *DB) ListVersions(ctx context.Context, volumeID string, before uint64, limit int) (out []volume.Version, err error) {
	err = d.each(ctx, func(rows *sql.Rows) error {
		v, err := scanVersion(rows.Scan)
		if err == nil {
			out = append(out, *v)
		}
		return err
	}, `SELECT `+versionColumns+` FROM volume_versions WHERE volume_id = $1 AND ($2 = 0 OR number < $2) ORDER BY number DESC LIMIT $3`,
		volumeID, int64(before), limit)
	if err != nil {
		return nil, fmt.Errorf("volume %q: %w", volumeID, err)
	}
	return out, nil
}

// HoldTrees implements volume.Versions.
func (d *DB) HoldTrees(ctx context.Context, roots []string, until time.Time) error {
	unknown := ""
	err := d.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM volume_holds WHERE held_until < $1`, millis(time.Now())); err != nil {
			return err
		}
		for _, root := range roots {
			var n int
			err := tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM volume_versions WHERE root = $1) + (SELECT COUNT(*) FROM volume_holds WHERE root = $1)`,
				root).Scan(&n)
			if err != nil {
				return err
			}
			if n == 0 {
				unknown = root
				continue
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO volume_holds (root, held_until) VALUES ($1, $2)
				ON CONFLICT (root) DO UPDATE SET held_until = excluded.held_until`, root, millis(until))
			if err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("trees of volumes: %w", err)
	case unknown != "":
		return missing(sql.ErrNoRows, "tree of a volume", unknown)
	}
	return nil
}

// VolumeTrees implements volume.Versions.
func (d *DB) VolumeTrees(ctx context.Context, now time.Time) ([]string, error) {
	var out []string
	err := d.each(ctx, func(rows *sql.Rows) error {
		var root string
		if err := rows.Scan(&root); err != nil {
			return err
		}
		out = append(out, root)
		return nil
	}, `SELECT root FROM volume_versions UNION SELECT root FROM volume_holds WHERE held_until >= $1`, millis(now))
	if err != nil {
		return nil, fmt.Errorf("trees of volumes: %w", err)
	}
	return out, nil
}
