package sqlstore

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/lineage"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

var (
	_ call.Records = (*DB)(nil)
	_ call.Expiry  = (*DB)(nil)
	_ call.Lineage = (*DB)(nil)
)

// Accept implements call.Records.
func (d *DB) Accept(ctx context.Context, batch []call.Accept) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		newCall, err := tx.PrepareContext(ctx, `
			INSERT INTO calls (id, function_id, app_id, function_name, parent_input_id, parent_call_id, created_at, num_inputs, num_finished, expired)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0) ON CONFLICT (id) DO NOTHING`)
		if err != nil {
			return fmt.Errorf("calls: %w", err)
		}
		defer newCall.Close() //nolint:errcheck // the transaction's end closes it as well
		newInput, err := tx.PrepareContext(ctx, `
			INSERT INTO call_inputs (call_id, position, method, args) VALUES ($1, $2, $3, $4) ON CONFLICT (call_id, position) DO NOTHING`)
		if err != nil {
			return fmt.Errorf("inputs: %w", err)
		}
		defer newInput.Close() //nolint:errcheck // the transaction's end closes it as well
		// A call that had ended goes on with its new inputs.
		grow, err := tx.PrepareContext(ctx, `UPDATE calls SET num_inputs = num_inputs + $1, ended_at = NULL WHERE id = $2`)
		if err != nil {
			return fmt.Errorf("calls: %w", err)
		}
		defer grow.Close() //nolint:errcheck // the transaction's end closes it as well
		for i := range batch {
			a := &batch[i]
			_, err := newCall.ExecContext(ctx, a.CallID, a.FunctionID, a.AppID, a.FunctionName, a.ParentInputID, lineage.ParentCall(a.ParentInputID),
				millis(a.CreatedAt))
			if err != nil {
				return fmt.Errorf("call %q: %w", a.CallID, err)
			}
			added, err := insertInputs(ctx, newInput, a.Inputs)
			if err == nil && added > 0 {
				_, err = grow.ExecContext(ctx, added, a.CallID)
			}
			if err != nil {
				return fmt.Errorf("call %q: %w", a.CallID, err)
			}
		}
		return nil
	})
}

// insertInputs returns how many were not there yet.
func insertInputs(ctx context.Context, insert *sql.Stmt, inputs []call.Input) (added int64, err error) {
	for i := range inputs {
		in := &inputs[i]
		res, err := insert.ExecContext(ctx, in.Key.CallID, in.Key.Index, in.Method, base64.StdEncoding.EncodeToString(in.Args.Append(nil)))
		if err != nil {
			return 0, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return 0, err
		}
		added += n
	}
	return added, nil
}

// Finish implements call.Records.
func (d *DB) Finish(ctx context.Context, at time.Time, outputs []call.Output) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		update, err := tx.PrepareContext(ctx, `
			UPDATE call_inputs SET output = $1, status = $2, container_id = $3, args = ''
			WHERE call_id = $4 AND position = $5 AND output IS NULL`)
		if err != nil {
			return fmt.Errorf("outputs: %w", err)
		}
		defer update.Close() //nolint:errcheck // the transaction's end closes it as well
		finished := map[string]int64{}
		for i := range outputs {
			o := &outputs[i]
			encoded := base64.StdEncoding.EncodeToString(o.Result.Append(nil))
			res, err := update.ExecContext(ctx, encoded, o.Result.Status, o.ContainerID, o.Key.CallID, o.Key.Index)
			if err != nil {
				return fmt.Errorf("output %d of call %q: %w", o.Key.Index, o.Key.CallID, err)
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			if n > 0 {
				finished[o.Key.CallID] += n
			}
		}
		return countFinished(ctx, tx, finished, at)
	})
}

func countFinished(ctx context.Context, tx *sql.Tx, finished map[string]int64, now time.Time) error {
	for id, n := range finished {
		_, err := tx.ExecContext(ctx, `
			UPDATE calls SET num_finished = num_finished + $1,
				ended_at = CASE WHEN num_finished + $1 >= num_inputs THEN CAST($2 AS BIGINT) ELSE NULL END
			WHERE id = $3`, n, millis(now), id)
		if err != nil {
			return fmt.Errorf("call %q: %w", id, err)
		}
	}
	return nil
}

// Get implements call.Records.
func (d *DB) Get(ctx context.Context, callID string) (call.State, error) {
	s := call.State{CallID: callID}
	var created int64
	err := d.reader.QueryRowContext(ctx, `
		SELECT function_id, app_id, created_at, num_inputs, num_finished, expired FROM calls WHERE id = $1`, callID).
		Scan(&s.FunctionID, &s.AppID, &created, &s.NumInputs, &s.NumFinished, &s.Expired)
	if errors.Is(err, sql.ErrNoRows) {
		return call.State{}, fault.New(fault.NotFound, "call %q: there is none that was spawned under this id", callID)
	}
	if err != nil {
		return call.State{}, fmt.Errorf("call %q: %w", callID, err)
	}
	s.CreatedAt = fromMillis(created)
	return s, nil
}

// Outputs implements call.Records.
func (d *DB) Outputs(ctx context.Context, callID string, from uint32, limit int) ([]call.Output, error) {
	rows, err := d.reader.QueryContext(ctx, `
		SELECT position, container_id, output FROM call_inputs
		WHERE call_id = $1 AND position >= $2 AND output IS NOT NULL ORDER BY position LIMIT $3`, callID, from, limit)
	if err != nil {
		return nil, fmt.Errorf("outputs of call %q: %w", callID, err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	var list []call.Output
	for rows.Next() {
		o := call.Output{Key: payload.Key{CallID: callID}}
		var encoded string
		if err := rows.Scan(&o.Key.Index, &o.ContainerID, &encoded); err != nil {
			return nil, fmt.Errorf("outputs of call %q: %w", callID, err)
		}
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err == nil {
			o.Result, err = payload.ParseResult(data)
		}
		if err != nil {
			return nil, fault.New(fault.DataLoss, "output %d of call %q: %w", o.Key.Index, callID, err)
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

const pendingQuery = `
	SELECT i.call_id, i.position, i.method, i.args, c.function_id
	FROM call_inputs i JOIN calls c ON c.id = i.call_id
	WHERE i.output IS NULL`

// Pending implements call.Records.
func (d *DB) Pending(ctx context.Context, callID string, after payload.Key, limit int) ([]call.Input, error) {
	if callID != "" {
		return d.pending(ctx, pendingQuery+` AND i.call_id = $1 AND i.position > $2 ORDER BY i.position LIMIT $3`,
			callID, afterIndex(after), limit)
	}
	return d.pending(ctx, pendingQuery+` AND (i.call_id, i.position) > ($1, $2) ORDER BY i.call_id, i.position LIMIT $3`,
		after.CallID, afterIndex(after), limit)
}

// PendingFrom implements call.Records.
func (d *DB) PendingFrom(ctx context.Context, from payload.Key, limit int) ([]call.Input, error) {
	return d.pending(ctx, pendingQuery+` AND i.call_id = $1 AND i.position >= $2 ORDER BY i.position LIMIT $3`, from.CallID, from.Index, limit)
}

func (d *DB) pending(ctx context.Context, query string, args ...any) ([]call.Input, error) {
	rows, err := d.reader.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("pending inputs: %w", err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	var list []call.Input
	for rows.Next() {
		in := call.Input{Kind: call.Spawn}
		var encoded string
		if err := rows.Scan(&in.Key.CallID, &in.Key.Index, &in.Method, &encoded, &in.FunctionID); err != nil {
			return nil, fmt.Errorf("pending inputs: %w", err)
		}
		parsed, err := parseArgs(encoded)
		if err != nil {
			return nil, fault.New(fault.DataLoss, "input %d of call %q: %w", in.Key.Index, in.Key.CallID, err)
		}
		in.Args = *parsed
		list = append(list, in)
	}
	return list, rows.Err()
}

// afterIndex is the position to go on after; the zero key begins before position 0 of the first call.
func afterIndex(k payload.Key) int64 {
	if k.CallID == "" {
		return -1
	}
	return int64(k.Index)
}

func parseArgs(encoded string) (*payload.Payload, error) {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	args, rest, err := payload.Parse(data)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, errors.New("bytes left over")
	}
	return args, nil
}

// PendingOfApp implements call.Records.
func (d *DB) PendingOfApp(ctx context.Context, appID string) ([]string, error) {
	rows, err := d.reader.QueryContext(ctx, `SELECT id FROM calls WHERE app_id = $1 AND ended_at IS NULL ORDER BY id`, appID)
	if err != nil {
		return nil, fmt.Errorf("pending calls of app %q: %w", appID, err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("pending calls of app %q: %w", appID, err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// CallNodes implements call.Lineage.
func (d *DB) CallNodes(ctx context.Context, callID string, limit int) ([]lineage.Node, error) {
	return d.nodes(ctx, `c.id = $1 ORDER BY i.position LIMIT $2`, callID, limit)
}

// ChildNodes implements call.Lineage.
func (d *DB) ChildNodes(ctx context.Context, callID string, limit int) ([]lineage.Node, error) {
	return d.nodes(ctx, `c.parent_call_id = $1 AND c.parent_call_id <> '' ORDER BY c.created_at, c.id, i.position LIMIT $2`, callID, limit)
}

func (d *DB) nodes(ctx context.Context, which, callID string, limit int) ([]lineage.Node, error) {
	rows, err := d.reader.QueryContext(ctx, `
		SELECT i.call_id, i.position, c.parent_input_id, c.function_id, c.function_name, i.method, i.container_id, i.status
		FROM calls c JOIN call_inputs i ON i.call_id = c.id WHERE `+which, callID, limit)
	if err != nil {
		return nil, fmt.Errorf("graph of call %q: %w", callID, err)
	}
	defer rows.Close() // rows.Err tells what went wrong
	var list []lineage.Node
	for rows.Next() {
		var n lineage.Node
		var method string
		err := rows.Scan(&n.Key.CallID, &n.Key.Index, &n.ParentInputID, &n.FunctionID, &n.FunctionName, &method, &n.ContainerID, &n.Status)
		if err != nil {
			return nil, fmt.Errorf("graph of call %q: %w", callID, err)
		}
		if method != "" {
			n.FunctionName += "." + method
		}
		n.Finished = n.Status != 0
		list = append(list, n)
	}
	return list, rows.Err()
}
