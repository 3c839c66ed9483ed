package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/gateway/backup"
)

var _ backup.Records = (*DB)(nil)

// tableChange finds what migrations do to tables: make, drop, rename.
var tableChange = regexp.MustCompile(`(?m)^(?:CREATE TABLE (\w+)|DROP TABLE (\w+)|ALTER TABLE (\w+) RENAME TO (\w+))`)

// tables lists all tables but that of the migrations, each after those that it refers to.
func tables() ([]string, error) {
	scripts, err := loadScripts()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range scripts {
		for _, c := range tableChange.FindAllStringSubmatch(s.text, -1) {
			switch made, dropped, from, to := c[1], c[2], c[3], c[4]; {
			case made != "":
				names = append(names, made)
			case dropped != "":
				names = slices.DeleteFunc(names, func(n string) bool { return n == dropped })
			default:
				names[slices.Index(names, from)] = to
			}
		}
	}
	return names, nil
}

// Schema implements backup.Records.
func (d *DB) Schema(ctx context.Context) (version int, err error) {
	err = d.reader.QueryRowContext(ctx, `SELECT MAX(version) FROM schema_migrations`).Scan(&version)
	return version, err
}

// Empty implements backup.Records.
func (d *DB) Empty(ctx context.Context) (bool, error) {
	var n int
	err := d.reader.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM tokens) + (SELECT COUNT(*) FROM apps)`).Scan(&n)
	return n == 0, err
}

// Save implements backup.Records.
func (d *DB) Save(ctx context.Context, row func(table string, values map[string]any) error) error {
	names, err := tables()
	if err != nil {
		return err
	}
	tx, err := d.reader.BeginTx(ctx, d.snapshot)
	if err != nil {
		return fmt.Errorf("records: %w", d.writer.named(err))
	}
	defer tx.Rollback()
	for _, name := range names {
		if err := saveTable(ctx, tx, name, row); err != nil {
			return fmt.Errorf("table %q: %w", name, err)
		}
	}
	return nil
}

func saveTable(ctx context.Context, tx *sql.Tx, name string, row func(table string, values map[string]any) error) error {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+name)
	if err != nil {
		return err
	}
	defer rows.Close() // rows.Err tells what went wrong
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		cells, at := make([]any, len(columns)), make([]any, len(columns))
		for i := range cells {
			at[i] = &cells[i]
		}
		if err := rows.Scan(at...); err != nil {
			return err
		}
		values := make(map[string]any, len(columns))
		for i, c := range columns {
			if b, ok := cells[i].([]byte); ok {
				cells[i] = string(b)
			}
			values[c] = cells[i]
		}
		if err := row(name, values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Replace implements backup.Records.
func (d *DB) Replace(ctx context.Context, next func() (table string, values map[string]any, err error)) error {
	names, err := tables()
	if err != nil {
		return err
	}
	return d.writer.named(transact(ctx, d.writer.db, func(tx *sql.Tx) error {
		for _, name := range slices.Backward(names) {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+name); err != nil {
				return fmt.Errorf("table %q: %w", name, err)
			}
		}
		var into *inserter
		for {
			table, values, err := next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err == nil && (into == nil || into.table != table) {
				into, err = newInserter(ctx, tx, table, names)
			}
			if err == nil {
				err = into.add(ctx, values)
			}
			if err != nil {
				return fmt.Errorf("table %q: %w", table, err)
			}
		}
	}))
}

// inserter adds rows to a table.
type inserter struct {
	table   string
	columns []string
	truths  map[string]bool // columns that are so
	insert  *sql.Stmt
}

func newInserter(ctx context.Context, tx *sql.Tx, table string, known []string) (*inserter, error) {
	if !slices.Contains(known, table) {
		return nil, errors.New("is none of this release's")
	}
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	types, err := rows.ColumnTypes()
	if err := errors.Join(err, rows.Close()); err != nil {
		return nil, err
	}
	in := &inserter{table: table, truths: map[string]bool{}}
	places := make([]string, len(types))
	for i, t := range types {
		in.columns = append(in.columns, t.Name())
		in.truths[t.Name()] = strings.HasPrefix(t.DatabaseTypeName(), "BOOL")
		places[i] = fmt.Sprint("$", i+1)
	}
	in.insert, err = tx.PrepareContext(ctx, "INSERT INTO "+table+" ("+strings.Join(in.columns, ", ")+") VALUES ("+strings.Join(places, ", ")+")")
	return in, err
}

func (in *inserter) add(ctx context.Context, values map[string]any) error {
	if len(values) != len(in.columns) {
		return fmt.Errorf("a row has the columns %v, want %v", slices.Sorted(maps.Keys(values)), in.columns)
	}
	cells := make([]any, len(in.columns))
	for i, c := range in.columns {
		v, ok := values[c]
		if !ok {
			return fmt.Errorf("a row has no column %q", c)
		}
		if n, ok := v.(json.Number); ok {
			whole, err := n.Int64()
			if err != nil {
				return fmt.Errorf("column %q: %w", c, err)
			}
			v = whole
		}
		if n, ok := v.(int64); ok && in.truths[c] {
			v = n != 0
		}
		cells[i] = v
	}
	_, err := in.insert.ExecContext(ctx, cells...)
	return err
}
