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
)

const functionQuery = `
	SELECT f.id, f.app_id, CASE WHEN a.name <> '' THEN a.name ELSE a.description END, a.environment, f.version, f.definition
	FROM functions f JOIN apps a ON a.id = f.app_id`

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
	if err := r.Scan(&f.ID, &f.AppID, &f.AppName, &f.Environment, &f.Version, &definition); err != nil {
		return nil, err
	}
	return f, json.Unmarshal([]byte(definition), &f.Definition)
}

// Function implements function.Store. A function of a stopped app, and one that its app no longer has, is not found.
func (d *DB) Function(ctx context.Context, id string) (*function.Function, error) {
	f, err := scanFunction(d.reader.QueryRowContext(ctx, functionQuery+` WHERE f.id = $1 AND f.current = 1 AND a.state < $2`, id, app.Stopping))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "function %q: there is none, or its app has stopped", id)
	}
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", id, err)
	}
	return f, nil
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
