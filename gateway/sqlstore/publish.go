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

var _ function.Store = (*DB)(nil)

// PublishApp implements app.Store.
func (d *DB) PublishApp(ctx context.Context, p app.Publication) (*app.Published, error) {
	var done *app.Published
	err := d.tx(ctx, func(tx *sql.Tx) error {
		a, err := publishTarget(ctx, tx, p)
		if err != nil {
			return err
		}
		a.Version++
		if p.Name != "" {
			a.Name, a.State = p.Name, app.Deployed
			if err := insertDeployment(ctx, tx, a, p.Deployment); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE apps SET name = $1, state = $2, version = $3 WHERE id = $4`,
			a.Name, a.State, a.Version, a.ID); err != nil {
			return fmt.Errorf("app %q: %w", a.ID, err)
		}
		done, err = replaceFunctions(ctx, tx, a, p.Functions)
		return err
	})
	return done, err
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
		app.Stopped, app.Completed, millis(p.Deployment.DeployedAt), given.ID); err != nil {
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
	kept := map[string]bool{}
	for _, def := range definitions {
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
		kept[def.Name] = true
	}
	done := &app.Published{App: *a}
	if done.Functions, err = queryFunctions(ctx, tx, functionQuery+` WHERE f.app_id = $1 AND f.current = 1`, a.ID); err != nil {
		return nil, err
	}
	for _, f := range old {
		if !kept[f.Definition.Name] {
			done.Removed = append(done.Removed, f)
		}
	}
	return done, nil
}
