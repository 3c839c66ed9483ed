package sqlstore

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/internal/fault"
)

var (
	_ image.Store    = (*DB)(nil)
	_ image.Profiles = (*DB)(nil)
	_ image.Ages     = (*DB)(nil)
)

// PutImage implements image.Store.
func (d *DB) PutImage(ctx context.Context, im image.Image) error {
	texts := make([]any, 4)
	for i, v := range []any{im.Env, words(im.Entrypoint), words(im.Cmd), words(im.Shell)} {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("image %q: %w", im.ID, err)
		}
		texts[i] = string(text)
	}
	_, err := d.writer.ExecContext(ctx, `
		INSERT INTO images (id, recipe, erofs_digest, erofs_size, workdir, created_at, chunked, run_as, ttl, used_at, env, entrypoint, cmd, shell)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (id) DO UPDATE SET recipe = excluded.recipe, erofs_digest = excluded.erofs_digest, erofs_size = excluded.erofs_size,
			env = excluded.env, workdir = excluded.workdir, created_at = excluded.created_at, chunked = excluded.chunked,
			entrypoint = excluded.entrypoint, cmd = excluded.cmd, shell = excluded.shell, run_as = excluded.run_as`,
		append([]any{
			im.ID, base64.StdEncoding.EncodeToString(im.Recipe), im.EROFS.Digest, int64(im.EROFS.Size), im.Workdir,
			millis(im.CreatedAt), flag(im.Chunked), im.User, im.TTL.Milliseconds(), millis(im.UsedAt),
		}, texts...)...)
	if err != nil {
		return fmt.Errorf("image %q: %w", im.ID, err)
	}
	return nil
}

// Image implements image.Store.
func (d *DB) Image(ctx context.Context, id string) (*image.Image, error) {
	im := &image.Image{ID: id}
	var size, created, ttl, used int64
	var recipe, env, entrypoint, cmd, shell string
	err := d.reader.QueryRowContext(ctx,
		`SELECT recipe, erofs_digest, erofs_size, env, workdir, created_at, chunked, entrypoint, cmd, shell, run_as, ttl, used_at
		FROM images WHERE id = $1`, id).
		Scan(&recipe, &im.EROFS.Digest, &size, &env, &im.Workdir, &created, &im.Chunked, &entrypoint, &cmd, &shell, &im.User, &ttl, &used)
	if err != nil {
		return nil, missing(err, "image", id)
	}
	im.EROFS.Size, im.CreatedAt = uint64(size), fromMillis(created)
	im.TTL, im.UsedAt = time.Duration(ttl)*time.Millisecond, fromMillis(used)
	if im.Recipe, err = base64.StdEncoding.DecodeString(recipe); err != nil {
		return nil, fmt.Errorf("image %q: recipe: %w", id, err)
	}
	err = errors.Join(json.Unmarshal([]byte(env), &im.Env), json.Unmarshal([]byte(entrypoint), &im.Entrypoint),
		json.Unmarshal([]byte(cmd), &im.Cmd), json.Unmarshal([]byte(shell), &im.Shell))
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", id, err)
	}
	return im, nil
}

// words is a list that is never null.
func words(w []string) []string {
	if w == nil {
		return []string{}
	}
	return w
}

// Images implements image.Store.
func (d *DB) Images(ctx context.Context, limit int) ([]image.Image, error) {
	var out []image.Image
	err := d.each(ctx, func(rows *sql.Rows) error {
		var im image.Image
		var size, created int64
		if err := rows.Scan(&im.ID, &im.EROFS.Digest, &size, &created); err != nil {
			return err
		}
		im.EROFS.Size, im.CreatedAt = uint64(size), fromMillis(created)
		out = append(out, im)
		return nil
	}, `SELECT id, erofs_digest, erofs_size, created_at FROM images ORDER BY created_at DESC, id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return out, nil
}

// DeleteImage implements image.Store.
func (d *DB) DeleteImage(ctx context.Context, id string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		deleted := int64(0)
		for _, table := range []string{"DELETE FROM images WHERE id = $1", "DELETE FROM image_logs WHERE image_id = $1"} {
			res, err := tx.ExecContext(ctx, table, id)
			if err != nil {
				return fmt.Errorf("image %q: %w", id, err)
			}
			n, err := res.RowsAffected()
			if err != nil {
				return fmt.Errorf("image %q: %w", id, err)
			}
			deleted += n
		}
		if deleted == 0 {
			return missing(sql.ErrNoRows, "image", id)
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM image_names WHERE image_id = $1`, id) // those of the past: see ImageUsers
		return err
	})
}

// ImageUsers implements image.Store.
func (d *DB) ImageUsers(ctx context.Context, id string) ([]string, error) {
	var out []string
	err := d.each(ctx, func(rows *sql.Rows) error {
		var kind, name string
		if err := rows.Scan(&kind, &name); err != nil {
			return err
		}
		out = append(out, fmt.Sprintf("%s %q", kind, name))
		return nil
	}, `SELECT DISTINCT 'app', a.id FROM functions f JOIN apps a ON a.id = f.app_id WHERE a.stopped_at IS NULL AND f.definition LIKE $1
		UNION ALL SELECT 'sandbox', id FROM sandboxes WHERE ended_at IS NULL AND record LIKE $1
		UNION ALL SELECT 'name', n.name || ':' || n.tag`+present+` AND n.image_id = $2`, "%"+id+"%", id)
	if err != nil {
		return nil, fmt.Errorf("image %q: %w", id, err)
	}
	return out, nil
}

// UseImage implements image.Ages.
func (d *DB) UseImage(ctx context.Context, id string, at time.Time) error {
	if _, err := d.writer.ExecContext(ctx, `UPDATE images SET used_at = $1 WHERE id = $2 AND used_at < $1`, millis(at), id); err != nil {
		return fmt.Errorf("image %q: %w", id, err)
	}
	return nil
}

// StaleImages implements image.Ages.
func (d *DB) StaleImages(ctx context.Context, now time.Time) (ids []string, err error) {
	err = d.each(ctx, func(rows *sql.Rows) error {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
		return nil
	}, `SELECT id FROM images WHERE ttl > 0 AND used_at + ttl < $1`, millis(now))
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	return ids, nil
}

// failedLogAge is for how long the log of a build that failed is kept. That of an image is kept as long as the image.
const failedLogAge = 30 * 24 * time.Hour

// PutImageLog implements image.Store. It also forgets logs of builds that failed long ago.
func (d *DB) PutImageLog(ctx context.Context, id string, log []image.StepLog) error {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(w).Encode(log), w.Close()); err != nil {
		return fmt.Errorf("log of image %q: %w", id, err)
	}
	now := time.Now()
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO image_logs (image_id, log, updated_at) VALUES ($1, $2, $3)
			ON CONFLICT (image_id) DO UPDATE SET log = excluded.log, updated_at = excluded.updated_at`,
			id, base64.StdEncoding.EncodeToString(packed.Bytes()), millis(now))
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM image_logs WHERE updated_at < $1 AND image_id NOT IN (SELECT id FROM images)`,
				millis(now.Add(-failedLogAge)))
		}
		if err != nil {
			return fmt.Errorf("log of image %q: %w", id, err)
		}
		return nil
	})
}

// ImageLog implements image.Store.
func (d *DB) ImageLog(ctx context.Context, id string) ([]image.StepLog, error) {
	var text string
	if err := d.reader.QueryRowContext(ctx, `SELECT log FROM image_logs WHERE image_id = $1`, id).Scan(&text); err != nil {
		return nil, missing(err, "log of image", id)
	}
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("log of image %q: %w", id, err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("log of image %q: %w", id, err)
	}
	var out []image.StepLog
	if err := json.NewDecoder(r).Decode(&out); err != nil {
		return nil, fmt.Errorf("log of image %q: %w", id, err)
	}
	return out, nil
}

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
