package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

const functionQuery = `
	SELECT f.id, f.app_id, CASE WHEN a.name <> '' THEN a.name ELSE a.description END, a.environment, f.version, f.definition, s.bounds
	FROM functions f JOIN apps a ON a.id = f.app_id LEFT JOIN autoscalers s ON s.function_id = f.id AND s.version = f.version`

// versionQuery is functionQuery for a version that may not be the current one.
const versionQuery = `
	SELECT f.function_id, f.app_id, CASE WHEN a.name <> '' THEN a.name ELSE a.description END, a.environment, f.version, f.definition, NULL
	FROM function_versions f JOIN apps a ON a.id = f.app_id`

// queryer is a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryFunctions(ctx context.Context, q queryer, query string, args ...any) ([]*function.Function, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("functions: %w", err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	var list []*function.Function
	for rows.Next() {
		f, err := scanFunction(rows)
		if err != nil {
			return nil, fmt.Errorf("functions: %w", err)
		}
		list = append(list, f)
	}
	return list, rows.Err()
}

func scanFunction(r row) (*function.Function, error) {
	f := &function.Function{}
	var definition string
	var bounds sql.NullString
	if err := r.Scan(&f.ID, &f.AppID, &f.AppName, &f.Environment, &f.Version, &definition, &bounds); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(definition), &f.Definition); err != nil || !bounds.Valid {
		return f, err
	}
	return f, json.Unmarshal([]byte(bounds.String), &f.Definition.Autoscaler)
}

// Function implements function.Store. A function of a stopped app, and one that its app no longer has, is not found.
func (d *DB) Function(ctx context.Context, id string) (*function.Function, error) {
	f, err := scanFunction(d.reader.QueryRowContext(ctx, functionQuery+` WHERE f.id = $1 AND f.current = 1 AND a.state < $2`, id, app.Stopping))
	if errors.Is(err, sql.ErrNoRows) {
		return d.bound(ctx, id)
	}
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", id, err)
	}
	return f, nil
}

// bound returns a bound function: its base's definition with what is bound.
func (d *DB) bound(ctx context.Context, id string) (*function.Function, error) {
	gone := fault.New(fault.NotFound, "function %q: there is none, or its app has stopped", id)
	var spec string
	err := d.reader.QueryRowContext(ctx, `SELECT spec FROM bindings WHERE id = $1`, id).Scan(&spec)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", id, err)
	}
	var b function.Binding
	if err := json.Unmarshal([]byte(spec), &b); err != nil {
		return nil, fmt.Errorf("function %q: %w", id, err)
	}
	query, args := functionQuery+` WHERE f.id = $1 AND f.current = 1 AND a.state < $2`, []any{b.BaseID, app.Stopping}
	if b.Version != 0 {
		query, args = versionQuery+` WHERE f.function_id = $1 AND a.state < $2 AND f.version = $3`, append(args, b.Version)
	}
	f, err := scanFunction(d.reader.QueryRowContext(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", id, err)
	}
	if f.Definition, err = b.Apply(f.Definition); err != nil {
		return nil, fmt.Errorf("function %q: its options do not fit the function any more: %w", id, err)
	}
	f.ID, f.Binding = id, &b
	return f, d.setBounds(ctx, f)
}

// setBounds puts the bounds in place that were set at run time.
func (d *DB) setBounds(ctx context.Context, f *function.Function) error {
	var bounds string
	err := d.reader.QueryRowContext(ctx, `SELECT bounds FROM autoscalers WHERE function_id = $1 AND version = $2`, f.ID, f.Version).Scan(&bounds)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("function %q: %w", f.ID, err)
	}
	return json.Unmarshal([]byte(bounds), &f.Definition.Autoscaler)
}

// Bind implements function.Store.
func (d *DB) Bind(ctx context.Context, b function.Binding) (string, error) {
	key, err := b.Key()
	if err != nil {
		return "", err
	}
	const query = `SELECT id FROM bindings WHERE key = $1`
	var id string
	err = d.reader.QueryRowContext(ctx, query, key).Scan(&id)
	if err == nil {
		return id, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("binding of function %q: %w", b.BaseID, err)
	}
	spec, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("binding of function %q: %w", b.BaseID, err)
	}
	err = d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO bindings (id, base_id, key, spec) VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO NOTHING`,
			ident.New(ident.Function), b.BaseID, key, string(spec))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, query, key).Scan(&id)
	})
	if err != nil {
		return "", fmt.Errorf("binding of function %q: %w", b.BaseID, err)
	}
	return id, nil
}

// SetAutoscaler implements function.Store.
func (d *DB) SetAutoscaler(ctx context.Context, functionID string, version uint32, a function.Autoscaler) error {
	bounds, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("function %q: %w", functionID, err)
	}
	_, err = d.writer.ExecContext(ctx, `
		INSERT INTO autoscalers (function_id, version, bounds) VALUES ($1, $2, $3)
		ON CONFLICT (function_id) DO UPDATE SET version = excluded.version, bounds = excluded.bounds`, functionID, version, string(bounds))
	if err != nil {
		return fmt.Errorf("function %q: %w", functionID, err)
	}
	return nil
}

// FunctionByName implements function.Store.
func (d *DB) FunctionByName(ctx context.Context, environment, appName, name string) (*function.Function, error) {
	a, err := d.AppByName(ctx, environment, appName)
	if err != nil {
		return nil, err
	}
	f, err := scanFunction(d.reader.QueryRowContext(ctx, functionQuery+` WHERE f.app_id = $1 AND f.name = $2 AND f.current = 1`, a.ID, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "function %q: deployed app %q has none of that name", name, appName)
	}
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", name, err)
	}
	return f, nil
}

// AppFunctions implements function.Store.
func (d *DB) AppFunctions(ctx context.Context, appID string) ([]*function.Function, error) {
	return queryFunctions(ctx, d.reader, functionQuery+` WHERE f.app_id = $1 AND f.current = 1 ORDER BY f.name`, appID)
}
