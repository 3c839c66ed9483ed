package rules

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// Watch installs the rules again, with all that was added, as soon as somebody removes the table: "nft flush ruleset", which is how
// distributions reload a firewall, takes every table, and containers must not go on without rules. It calls restored each time and blocks
// until ctx ends, then returns nil.
func (t *Table) Watch(ctx context.Context, restored func()) error {
	t.mu.Lock()
	t.restored = restored
	t.mu.Unlock()
	for ctx.Err() == nil {
		if err := t.watch(ctx); err != nil {
			return fmt.Errorf("watch nftables table %q: %w", t.cfg.Table, err)
		}
	}
	return nil
}

// watch does so until ctx ends or the kernel has dropped events, after which it is to be called again.
func (t *Table) watch(ctx context.Context) (err error) {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	monitor := nftables.NewMonitor(nftables.WithMonitorAction(nftables.MonitorActionAny), nftables.WithMonitorObject(nftables.MonitorObjectTables))
	events, err := conn.AddGenerationalMonitor(monitor)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, monitor.Close())
		// The monitor's goroutine ends once its last event is taken.
		for range events {
		}
	}()
	// What was removed before the monitor was there is noticed here.
	if err := t.heal(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if len(e.Changes) == 0 {
				continue
			}
			if err := t.heal(); err != nil {
				return err
			}
		}
	}
}

func (t *Table) heal() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.restore()
}

// restore installs the rules if the table is gone; t.mu is held.
func (t *Table) restore() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(tables, func(x *nftables.Table) bool { return x.Name == t.name }) {
		return nil
	}
	if err := t.install(true); err != nil {
		return err
	}
	if t.restored != nil {
		t.restored()
	}
	return nil
}
