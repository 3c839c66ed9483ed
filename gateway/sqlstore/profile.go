package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/internal/fault"
)

var _ image.Profiles = (*DB)(nil)

// PutProfile implements image.Profiles. It also forgets those of images that are gone.
func (d *DB) PutProfile(ctx context.Context, file string, chunks []uint32) error {
	text, err := json.Marshal(chunks)
	if err != nil {
		return fmt.Errorf("profile of %q: %w", file, err)
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM image_profiles WHERE file NOT IN (SELECT erofs_digest FROM images)`); err != nil {
			return fmt.Errorf("profiles: %w", err)
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM images WHERE erofs_digest = $1 AND chunked = 1`, file).Scan(&n); err != nil {
			return fmt.Errorf("profile of %q: %w", file, err)
		}
		if n == 0 {
			return fault.New(fault.NotFound, "image file %q: no image has it", file)
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO image_profiles (file, chunks) VALUES ($1, $2) ON CONFLICT (file) DO UPDATE SET chunks = excluded.chunks`, file, string(text))
		if err != nil {
			return fmt.Errorf("profile of %q: %w", file, err)
		}
		return nil
	})
}

// Profile implements image.Profiles.
func (d *DB) Profile(ctx context.Context, file string) (chunks []uint32, err error) {
	var text string
	err = d.reader.QueryRowContext(ctx, `SELECT chunks FROM image_profiles WHERE file = $1`, file).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &chunks)
	}
	if err != nil {
		return nil, fmt.Errorf("profile of %q: %w", file, err)
	}
	return chunks, nil
}
