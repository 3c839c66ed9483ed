package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/skerry-dev/skerry/gateway/image"
)

var _ image.Names = (*DB)(nil)

// present selects the image that each name has now.
const present = ` FROM image_names n WHERE n.version =
	(SELECT MAX(m.version) FROM image_names m WHERE m.environment = n.environment AND m.name = n.name AND m.tag = n.tag)`

const nameColumns = `SELECT n.environment, n.name, n.tag, n.image_id, n.public, n.updated_at`

// PutName implements image.Names.
func (d *DB) PutName(ctx context.Context, n image.Named) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		if err := enter(ctx, tx, n.Environment); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO image_names (environment, name, tag, version, image_id, public, updated_at)
			VALUES ($1, $2, $3, (SELECT COALESCE(MAX(version), 0) + 1 FROM image_names WHERE environment = $1 AND name = $2 AND tag = $3), $4, $5, $6)`,
			n.Environment, n.Name.Name, n.Tag, n.ImageID, flag(n.Public), millis(n.UpdatedAt))
		if err != nil {
			return fmt.Errorf("image name %q: %w", n.Name, err)
		}
		return nil
	})
}

// ImageByName implements image.Names.
func (d *DB) ImageByName(ctx context.Context, n image.Name) (*image.Named, error) {
	found, err := d.names(ctx, nameColumns+present+` AND n.environment = $1 AND n.name = $2 AND n.tag = $3`, n.Environment, n.Name, n.Tag)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, missing(sql.ErrNoRows, "image", n.String())
	}
	return &found[0], nil
}

// ListNames implements image.Names.
func (d *DB) ListNames(ctx context.Context, environment, prefix string) ([]image.Named, error) {
	all, err := d.names(ctx, nameColumns+present+` AND ($1 = '' OR n.environment = $1) ORDER BY n.name, n.tag, n.environment`, environment)
	if err != nil {
		return nil, err
	}
	kept := all[:0]
	for _, n := range all {
		if strings.HasPrefix(n.Name.Name, prefix) {
			kept = append(kept, n)
		}
	}
	return kept, nil
}

// NameHistory implements image.Names.
func (d *DB) NameHistory(ctx context.Context, n image.Name) ([]image.Named, error) {
	return d.names(ctx, nameColumns+` FROM image_names n WHERE n.environment = $1 AND n.name = $2 AND ($3 = '' OR n.tag = $3)
		ORDER BY n.updated_at DESC, n.version DESC`, n.Environment, n.Name, n.Tag)
}

func (d *DB) names(ctx context.Context, query string, args ...any) ([]image.Named, error) {
	var out []image.Named
	err := d.each(ctx, func(rows *sql.Rows) error {
		var n image.Named
		var updated int64
		if err := rows.Scan(&n.Environment, &n.Name.Name, &n.Tag, &n.ImageID, &n.Public, &updated); err != nil {
			return err
		}
		n.UpdatedAt = fromMillis(updated)
		out = append(out, n)
		return nil
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("image names: %w", err)
	}
	return out, nil
}
