package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"time"

	"github.com/skerry-dev/skerry/gateway/tunnel"
)

var _ tunnel.Store = (*DB)(nil)

// Tunnels implements tunnel.Store.
func (d *DB) Tunnels(ctx context.Context) (ways []tunnel.Way, grants []tunnel.Grant, err error) {
	err = d.each(ctx, func(rows *sql.Rows) error {
		var w tunnel.Way
		var address string
		if err := rows.Scan(&w.SandboxID, &w.Port, &w.Guarded, &w.Kind, &w.Closed, &address); err != nil {
			return err
		}
		if address != "" {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			w.Addr = at
		}
		ways = append(ways, w)
		return nil
	}, `SELECT sandbox_id, port, guarded, kind, closed, address FROM tunnels`)
	if err != nil {
		return nil, nil, fmt.Errorf("tunnels: %w", err)
	}
	err = d.each(ctx, func(rows *sql.Rows) error {
		var g tunnel.Grant
		var expires int64
		if err := rows.Scan(&g.Hash, &g.SandboxID, &g.Port, &g.Metadata, &expires); err != nil {
			return err
		}
		if expires != 0 {
			g.ExpiresAt = fromMillis(expires)
		}
		grants = append(grants, g)
		return nil
	}, `SELECT hash, sandbox_id, port, metadata, expires_at FROM tunnel_grants`)
	if err != nil {
		return nil, nil, fmt.Errorf("tokens of tunnels: %w", err)
	}
	return ways, grants, nil
}

// ChangeTunnels implements tunnel.Store.
func (d *DB) ChangeTunnels(ctx context.Context, changes []tunnel.Change) error {
	err := d.tx(ctx, func(tx *sql.Tx) error {
		for _, c := range changes {
			if err := changeTunnel(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tunnels: %w", err)
	}
	return nil
}

func changeTunnel(ctx context.Context, tx *sql.Tx, c tunnel.Change) error {
	var err error
	switch {
	case c.Way != nil:
		address := ""
		if c.Way.Addr.IsValid() {
			address = c.Way.Addr.String()
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO tunnels (sandbox_id, port, guarded, kind, closed, address) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (sandbox_id, port, guarded) DO UPDATE SET kind = excluded.kind, closed = excluded.closed, address = excluded.address`,
			c.Way.SandboxID, c.Way.Port, c.Way.Guarded, c.Way.Kind, c.Way.Closed, address)
	case c.Close != nil:
		_, err = tx.ExecContext(ctx, `DELETE FROM tunnels WHERE sandbox_id = $1 AND port = $2 AND guarded = $3`,
			c.Close.SandboxID, c.Close.Port, c.Close.Guarded)
	case c.Grant != nil:
		_, err = tx.ExecContext(ctx, `INSERT INTO tunnel_grants (hash, sandbox_id, port, metadata, expires_at) VALUES ($1, $2, $3, $4, $5)`,
			c.Grant.Hash, c.Grant.SandboxID, c.Grant.Port, c.Grant.Metadata, expiry(c.Grant.ExpiresAt))
	case c.Revoke != nil:
		_, err = tx.ExecContext(ctx, `DELETE FROM tunnel_grants WHERE sandbox_id = $1 AND ($2 = 0 OR port = $2)`, c.Revoke.SandboxID, c.Revoke.Port)
	case c.Expire != "":
		_, err = tx.ExecContext(ctx, `DELETE FROM tunnel_grants WHERE hash = $1`, c.Expire)
	case c.Forget != "":
		if _, err = tx.ExecContext(ctx, `DELETE FROM tunnels WHERE sandbox_id = $1`, c.Forget); err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM tunnel_grants WHERE sandbox_id = $1`, c.Forget)
		}
	}
	return err
}

// expiry is 0 for the zero time.
func expiry(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return millis(t)
}
