package sqlstore

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/image"
	"github.com/skerry-dev/skerry/gateway/mount"
)

var (
	_ image.Store = (*DB)(nil)
	_ mount.Store = (*DB)(nil)
)

// PutImage implements image.Store.
func (d *DB) PutImage(ctx context.Context, im image.Image) error {
	env, err := json.Marshal(im.Env)
	if err != nil {
		return fmt.Errorf("image %q: %w", im.ID, err)
	}
	_, err = d.writer.ExecContext(ctx, `
		INSERT INTO images (id, recipe, erofs_digest, erofs_size, env, workdir, created_at, chunked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET recipe = excluded.recipe, erofs_digest = excluded.erofs_digest, erofs_size = excluded.erofs_size,
			env = excluded.env, workdir = excluded.workdir, created_at = excluded.created_at, chunked = excluded.chunked`,
		im.ID, base64.StdEncoding.EncodeToString(im.Recipe), im.EROFS.Digest, int64(im.EROFS.Size), string(env), im.Workdir,
		millis(im.CreatedAt), im.Chunked)
	if err != nil {
		return fmt.Errorf("image %q: %w", im.ID, err)
	}
	return nil
}

// Image implements image.Store.
func (d *DB) Image(ctx context.Context, id string) (*image.Image, error) {
	im := &image.Image{ID: id}
	var size, created int64
	var recipe, env string
	err := d.reader.QueryRowContext(ctx,
		`SELECT recipe, erofs_digest, erofs_size, env, workdir, created_at, chunked FROM images WHERE id = $1`, id).
		Scan(&recipe, &im.EROFS.Digest, &size, &env, &im.Workdir, &created, &im.Chunked)
	if err != nil {
		return nil, missing(err, "image", id)
	}
	im.EROFS.Size, im.CreatedAt = uint64(size), fromMillis(created)
	if im.Recipe, err = base64.StdEncoding.DecodeString(recipe); err != nil {
		return nil, fmt.Errorf("image %q: recipe: %w", id, err)
	}
	if err := json.Unmarshal([]byte(env), &im.Env); err != nil {
		return nil, fmt.Errorf("image %q: environment: %w", id, err)
	}
	return im, nil
}

// AddTree implements mount.Store.
func (d *DB) AddTree(ctx context.Context, digest string, numFiles int, numBytes uint64) error {
	_, err := d.writer.ExecContext(ctx,
		`INSERT INTO trees (digest, num_files, num_bytes, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (digest) DO UPDATE SET created_at = excluded.created_at WHERE excluded.created_at - trees.created_at > 3600000`,
		digest, numFiles, int64(numBytes), millis(time.Now()))
	if err != nil {
		return fmt.Errorf("tree %q: %w", digest, err)
	}
	return nil
}

// HasTree implements mount.Store.
func (d *DB) HasTree(ctx context.Context, digest string) (bool, error) {
	var n int
	if err := d.reader.QueryRowContext(ctx, `SELECT COUNT(*) FROM trees WHERE digest = $1`, digest).Scan(&n); err != nil {
		return false, fmt.Errorf("tree %q: %w", digest, err)
	}
	return n > 0, nil
}
