package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

var _ function.Store = (*DB)(nil)

// PublishApp implements app.Versions.
func (d *DB) PublishApp(ctx context.Context, p app.Publication) (*app.Published, error) {
	var done *app.Published
	err := d.tx(ctx, func(tx *sql.Tx) error {
		a, err := publishTarget(ctx, tx, p)
		if err != nil {
			return err
		}
		if p.Name != "" && a.State == app.Deployed && !p.Again {
			if done, err = unchanged(ctx, tx, a, p); err != nil || done != nil {
				return err
			}
		}
		a.Version++
		if p.Tags != nil {
			a.Tags = p.Tags
		}
		tags, err := json.Marshal(a.Tags)
		if err != nil {
			return fmt.Errorf("app %q: %w", a.ID, err)
		}
		if p.Name != "" {
			a.Name, a.State = p.Name, app.Deployed
			if err := insertDeployment(ctx, tx, a, p.Deployment); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE apps SET name = $1, state = $2, version = $3, tags = $4 WHERE id = $5`,
			a.Name, a.State, a.Version, string(tags), a.ID); err != nil {
			return fmt.Errorf("app %q: %w", a.ID, err)
		}
		done, err = replaceFunctions(ctx, tx, a, p.Functions)
		if err != nil || p.Name == "" {
			return err
		}
		return keepVersion(ctx, tx, a)
	})
	return done, err
}

// unchanged returns the current publication if the new one has the same functions and tags, else nil.
func unchanged(ctx context.Context, tx *sql.Tx, a *app.App, p app.Publication) (*app.Published, error) {
	current, err := queryFunctions(ctx, tx, functionQuery+` WHERE f.app_id = $1 AND f.current = 1`, a.ID)
	if err != nil || len(current) != len(p.Functions) || p.Tags != nil && !maps.Equal(p.Tags, a.Tags) {
		return nil, err
	}
	stored := make(map[string]string, len(current))
	rows, err := tx.QueryContext(ctx, `SELECT name, definition FROM functions WHERE app_id = $1 AND current = 1`, a.ID)
	if err != nil {
		return nil, fmt.Errorf("functions of app %q: %w", a.ID, err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	for rows.Next() {
		var name, definition string
		if err := rows.Scan(&name, &definition); err != nil {
			return nil, fmt.Errorf("functions of app %q: %w", a.ID, err)
		}
		stored[name] = definition
	}
	for _, def := range p.Functions {
		encoded, err := json.Marshal(def)
		if err != nil {
			return nil, fmt.Errorf("function %q: %w", def.Name, err)
		}
		if stored[def.Name] != string(encoded) {
			return nil, rows.Err()
		}
	}
	return &app.Published{App: *a, Functions: current, Unchanged: true}, rows.Err()
}

// keepVersion keeps the app's current definitions as those of its version.
func keepVersion(ctx context.Context, tx *sql.Tx, a *app.App) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO function_versions (app_id, version, function_id, name, definition)
		SELECT app_id, version, id, name, definition FROM functions WHERE app_id = $1 AND current = 1`, a.ID)
	if err != nil {
		return fmt.Errorf("version %d of app %q: %w", a.Version, a.ID, err)
	}
	return nil
}

// Definitions implements app.Versions.
func (d *DB) Definitions(ctx context.Context, appID string, version uint32) ([]function.Definition, error) {
	var there int
	err := d.reader.QueryRowContext(ctx, `SELECT 1 FROM deployments WHERE app_id = $1 AND version = $2`, appID, version).Scan(&there)
	if err != nil {
		return nil, missing(err, "app "+appID+" version", strconv.FormatUint(uint64(version), 10))
	}
	list, err := queryFunctions(ctx, d.reader, versionQuery+` WHERE f.app_id = $1 AND f.version = $2 ORDER BY f.name`, appID, version)
	if err != nil {
		return nil, err
	}
	definitions := make([]function.Definition, 0, len(list))
	for _, f := range list {
		definitions = append(definitions, f.Definition)
	}
	return definitions, nil
}

// Reserve implements app.Versions.
func (d *DB) Reserve(ctx context.Context, appID string, names []string) (map[string]string, error) {
	ids := make(map[string]string, len(names))
	err := d.tx(ctx, func(tx *sql.Tx) error {
		for _, name := range names {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO functions (id, app_id, name, version, definition, current) VALUES ($1, $2, $3, 0, '{}', 0)
				ON CONFLICT (app_id, name) DO NOTHING`, ident.New(ident.Function), appID, name)
			if err != nil {
				return fmt.Errorf("function %q: %w", name, err)
			}
			var id string
			if err := tx.QueryRowContext(ctx, `SELECT id FROM functions WHERE app_id = $1 AND name = $2`, appID, name).Scan(&id); err != nil {
				return fmt.Errorf("function %q: %w", name, err)
			}
			ids[name] = id
		}
		return nil
	})
	return ids, err
}

// publishTarget returns the app that a publication is for, after merging the one it was prepared with, if that is another.
func publishTarget(ctx context.Context, tx *sql.Tx, p app.Publication) (*app.App, error) {
	given, err := scanApp(tx.QueryRowContext(ctx, `SELECT `+appColumns+` FROM apps WHERE id = $1`, p.AppID))
	if err != nil {
		return nil, missing(err, "app", p.AppID)
	}
	if !given.Living() {
		return nil, fault.New(fault.Precondition, "app %q: is stopped (%s)", given.ID, given.StopReason)
	}
	if given.Environment != p.Environment {
		return nil, fault.New(fault.NotFound, "app %q: is in another environment than the one that the publication is for", given.ID)
	}
	if p.Name == "" || given.Name == p.Name {
		return given, nil
	}
	if given.Name != "" {
		return nil, fault.New(fault.Precondition, "app %q: is deployed as %q, not %q", given.ID, given.Name, p.Name)
	}
	deployed, err := scanApp(tx.QueryRowContext(ctx, appByName, p.Environment, p.Name, app.Deployed))
	if errors.Is(err, sql.ErrNoRows) {
		return given, nil
	}
	if err != nil {
		return nil, fmt.Errorf("app %q: %w", p.Name, err)
	}
	if given.State != app.Initializing {
		return nil, fault.New(fault.Precondition, "app %q: runs already, and the name %q is deployed as app %q", given.ID, p.Name, deployed.ID)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE secrets SET app_id = $1 WHERE app_id = $2`, deployed.ID, given.ID); err != nil {
		return nil, fmt.Errorf("secrets of app %q: %w", given.ID, err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE apps SET state = $1, stop_reason = $2, stopped_at = $3 WHERE id = $4`,
		app.Stopped, app.Moved, millis(p.Deployment.DeployedAt), given.ID); err != nil {
		return nil, fmt.Errorf("app %q: %w", given.ID, err)
	}
	return deployed, nil
}

func insertDeployment(ctx context.Context, tx *sql.Tx, a *app.App, p app.Deployment) error {
	commit, err := json.Marshal(p.Commit)
	if err != nil {
		return fmt.Errorf("app %q: %w", a.ID, err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO deployments (app_id, version, deployed_at, client_version, deployed_by, tag, commit_info)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		a.ID, a.Version, millis(p.DeployedAt), p.ClientVersion, p.DeployedBy, p.Tag, string(commit))
	if err != nil {
		return fmt.Errorf("app %q: deployment %d: %w", a.ID, a.Version, err)
	}
	return nil
}

// renewID gives a name a fresh id where it was a function and is now a class, or the reverse: callers of the one can't use the other.
func renewID(ctx context.Context, tx *sql.Tx, a *app.App, old []*function.Function, def function.Definition) error {
	for _, f := range old {
		if f.Definition.Name != def.Name || (f.Definition.Class == nil) == (def.Class == nil) {
			continue
		}
		if _, err := tx.ExecContext(ctx, `UPDATE functions SET id = $1 WHERE id = $2`, ident.New(ident.Function), f.ID); err != nil {
			return fmt.Errorf("function %q of app %q: %w", def.Name, a.ID, err)
		}
	}
	return nil
}

// replaceFunctions makes the definitions the app's current functions. Those it no longer has keep their rows, so that a later deployment
// gives them their ids back.
func replaceFunctions(ctx context.Context, tx *sql.Tx, a *app.App, definitions []function.Definition) (*app.Published, error) {
	old, err := queryFunctions(ctx, tx, functionQuery+` WHERE f.app_id = $1 AND f.current = 1`, a.ID)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE functions SET current = 0 WHERE app_id = $1`, a.ID); err != nil {
		return nil, fmt.Errorf("functions of app %q: %w", a.ID, err)
	}
	for _, def := range definitions {
		if err := renewID(ctx, tx, a, old, def); err != nil {
			return nil, err
		}
		encoded, err := json.Marshal(def)
		if err != nil {
			return nil, fmt.Errorf("function %q: %w", def.Name, err)
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO functions (id, app_id, name, version, definition, current) VALUES ($1, $2, $3, $4, $5, 1)
			ON CONFLICT (app_id, name) DO UPDATE SET version = excluded.version, definition = excluded.definition, current = 1`,
			ident.New(ident.Function), a.ID, def.Name, a.Version, string(encoded))
		if err != nil {
			return nil, fmt.Errorf("function %q: %w", def.Name, err)
		}
	}
	done := &app.Published{App: *a}
	if done.Functions, err = queryFunctions(ctx, tx, functionQuery+` WHERE f.app_id = $1 AND f.current = 1`, a.ID); err != nil {
		return nil, err
	}
	kept := make(map[string]bool, len(done.Functions))
	for _, f := range done.Functions {
		kept[f.ID] = true
	}
	for _, f := range old {
		if !kept[f.ID] { // a function that has become a class is gone, though its name is not
			done.Removed = append(done.Removed, f)
		}
	}
	return done, nil
}
