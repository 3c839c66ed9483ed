package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/cron"
)

var _ cron.Store = (*DB)(nil)

// Scheduled implements cron.Store.
func (d *DB) Scheduled(ctx context.Context, appID string) ([]cron.Entry, error) {
	// A definition without a schedule says so; the text is only to leave most of them unread.
	query, args := functionQuery+` WHERE f.current = 1 AND a.state = $1 AND f.definition LIKE '%"Schedule":{%'`, []any{app.Deployed}
	if appID != "" {
		query, args = query+` AND f.app_id = $2`, append(args, appID)
	}
	functions, err := queryFunctions(ctx, d.reader, query, args...)
	if err != nil {
		return nil, err
	}
	var list []cron.Entry
	for _, f := range functions {
		if f.Definition.Schedule == nil {
			continue
		}
		state, err := d.schedule(ctx, f.ID)
		if err != nil {
			return nil, err
		}
		list = append(list, cron.Entry{Function: f, State: state})
	}
	return list, nil
}

func (d *DB) schedule(ctx context.Context, functionID string) (s cron.State, err error) {
	var anchor, done int64
	var due sql.NullInt64
	s.FunctionID = functionID
	err = d.reader.QueryRowContext(ctx, `SELECT spec, anchor, done, last_due, last_call FROM schedules WHERE function_id = $1`, functionID).
		Scan(&s.Spec, &anchor, &done, &due, &s.LastCall)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("schedule of function %q: %w", functionID, err)
	}
	s.Anchor, s.Done = fromMillis(anchor), fromMillis(done)
	if due.Valid {
		s.LastDue = fromMillis(due.Int64)
	}
	return s, nil
}

// SaveSchedule implements cron.Store.
func (d *DB) SaveSchedule(ctx context.Context, s cron.State) error {
	due := sql.NullInt64{Int64: millis(s.LastDue), Valid: !s.LastDue.IsZero()}
	_, err := d.writer.ExecContext(ctx, `
		INSERT INTO schedules (function_id, spec, anchor, done, last_due, last_call) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (function_id) DO UPDATE SET spec = excluded.spec, anchor = excluded.anchor, done = excluded.done,
			last_due = excluded.last_due, last_call = excluded.last_call`,
		s.FunctionID, s.Spec, millis(s.Anchor), millis(s.Done), due, s.LastCall)
	if err != nil {
		return fmt.Errorf("schedule of function %q: %w", s.FunctionID, err)
	}
	return nil
}

// DropSchedules implements cron.Store.
func (d *DB) DropSchedules(ctx context.Context, appID string) error {
	_, err := d.writer.ExecContext(ctx, `
		DELETE FROM schedules WHERE function_id IN (
			SELECT id FROM functions WHERE app_id = $1 AND (current = 0 OR definition NOT LIKE '%"Schedule":{%'))`, appID)
	if err != nil {
		return fmt.Errorf("schedules of app %q: %w", appID, err)
	}
	return nil
}
