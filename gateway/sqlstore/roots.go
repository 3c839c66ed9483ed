package sqlstore

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"regexp"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
)

// digestForm finds digests in records that are text.
var digestForm = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// definitions are the texts that name code and options of functions; of apps that stopped before a moment nothing is run again.
const definitions = `
	SELECT f.definition FROM functions f JOIN apps a ON a.id = f.app_id WHERE a.stopped_at IS NULL OR a.stopped_at >= $1
	UNION ALL
	SELECT v.definition FROM function_versions v JOIN apps a ON a.id = v.app_id WHERE a.stopped_at IS NULL OR a.stopped_at >= $1
	UNION ALL
	SELECT spec FROM bindings
	UNION ALL
	SELECT record FROM sandboxes WHERE ended_at IS NULL`

// Referred hands over all digests of blobs and trees that functions and calls name, some more than once. Apps that stopped before a moment
// are left out.
func (d *DB) Referred(ctx context.Context, stoppedBefore time.Time, add func(digest string)) error {
	err := d.each(ctx, func(rows *sql.Rows) error {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		for _, digest := range digestForm.FindAllString(text, -1) {
			add(digest)
		}
		return nil
	}, definitions, millis(stoppedBefore))
	if err != nil {
		return fmt.Errorf("references of functions: %w", err)
	}
	err = d.each(ctx, func(rows *sql.Rows) error {
		var args string
		var output sql.NullString
		if err := rows.Scan(&args, &output); err != nil {
			return err
		}
		return payloads(args, output.String, add)
	}, `SELECT args, output FROM call_inputs`)
	if err != nil {
		return fmt.Errorf("references of calls: %w", err)
	}
	return nil
}

// payloads hands over the blobs of an input's arguments and output, as they are recorded.
func payloads(args, output string, add func(digest string)) error {
	if args != "" {
		b, err := base64.StdEncoding.DecodeString(args)
		if err != nil {
			return err
		}
		p, _, err := payload.Parse(b)
		if err != nil {
			return err
		}
		addPayload(p, add)
	}
	if output == "" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(output)
	if err != nil {
		return err
	}
	r, err := payload.ParseResult(b)
	if err != nil {
		return err
	}
	addPayload(r.Value, add)
	if r.Error != nil {
		addPayload(r.Error.Exception, add)
	}
	return nil
}

func addPayload(p *payload.Payload, add func(digest string)) {
	if p != nil && p.Blob != nil {
		add(p.Blob.Digest)
	}
}

// ImageFiles hands over the files of all images, and whether they are manifests.
func (d *DB) ImageFiles(ctx context.Context, add func(digest string, chunked bool) error) error {
	err := d.each(ctx, func(rows *sql.Rows) error {
		var digest string
		var chunked bool
		if err := rows.Scan(&digest, &chunked); err != nil {
			return err
		}
		return add(digest, chunked)
	}, `SELECT erofs_digest, chunked FROM images`)
	if err != nil {
		return fmt.Errorf("references of images: %w", err)
	}
	return nil
}

// Trees hands over all trees that are recorded.
func (d *DB) Trees(ctx context.Context, add func(digest string) error) error {
	var all []string
	err := d.each(ctx, func(rows *sql.Rows) error {
		var digest string
		if err := rows.Scan(&digest); err != nil {
			return err
		}
		all = append(all, digest)
		return nil
	}, `SELECT digest FROM trees`)
	if err != nil {
		return fmt.Errorf("trees: %w", err)
	}
	for _, digest := range all {
		if err := add(digest); err != nil {
			return err
		}
	}
	return nil
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

// ForgetTree removes the record of a tree that nobody has made since a moment, and says whether it did.
func (d *DB) ForgetTree(ctx context.Context, digest string, before time.Time) (bool, error) {
	res, err := d.writer.ExecContext(ctx, `DELETE FROM trees WHERE digest = $1 AND created_at < $2`, digest, millis(before))
	if err != nil {
		return false, fmt.Errorf("tree %q: %w", digest, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// each hands the rows of a query to f, one by one.
func (d *DB) each(ctx context.Context, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := d.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close() // rows.Err tells what went wrong
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
