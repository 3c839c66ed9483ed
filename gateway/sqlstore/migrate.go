package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
	"time"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate runs the scripts of migrations/ that the database has not seen, in the order of their numbers, each in a transaction. Where several
// processes start at once, one runs them and the others wait for it.
func (d *DB) migrate(ctx context.Context) (err error) {
	scripts, err := loadScripts()
	if err != nil {
		return err
	}
	conn, err := d.writer.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("migrations: %w", d.writer.named(err))
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	unlock, err := d.writer.lock(ctx, conn)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	const table = `CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`
	if _, err := conn.ExecContext(ctx, d.typed(table)); err != nil {
		return fmt.Errorf("migrations: %w", d.writer.named(err))
	}
	var newest int
	if err := conn.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM schema_migrations`).Scan(&newest); err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	if n := len(scripts); n > 0 && newest > scripts[n-1].version {
		return fmt.Errorf("migrations: schema %d is of a newer release; start that one", newest)
	}
	for _, s := range scripts {
		if s.version <= newest {
			continue
		}
		if err := transact(ctx, conn, func(tx *sql.Tx) error { return d.apply(ctx, tx, s) }); err != nil {
			return fmt.Errorf("migration %q: %w", s.name, d.writer.named(err))
		}
	}
	return nil
}

// apply runs a script unless another process has done so in the meantime.
func (d *DB) apply(ctx context.Context, tx *sql.Tx, s script) error {
	var done int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM schema_migrations WHERE version = $1`, s.version).Scan(&done); err != nil || done > 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, d.typed(s.text)); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO schema_migrations (version, name, applied_at) VALUES ($1, $2, $3)`,
		s.version, s.name, time.Now().UnixMilli())
	return err
}

type script struct {
	version    int
	name, text string
}

func loadScripts() ([]script, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var scripts []script
	for _, name := range names {
		base := strings.TrimPrefix(name, "migrations/")
		number, _, _ := strings.Cut(base, "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("migration %q: want NNNN_name.sql", base)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		scripts = append(scripts, script{version, base, string(text)})
	}
	sort.Slice(scripts, func(i, j int) bool { return scripts[i].version < scripts[j].version })
	return scripts, nil
}
