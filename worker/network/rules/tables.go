package rules

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// names are the two that a table may have.
func names(table string) [2]string { return [2]string{table, table + "_b"} }

// inUse returns which of a table's names packets pass through. One that a crash left half made is none of them.
func inUse(table string) ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	var found []string
	for _, name := range names(table) {
		if slices.ContainsFunc(chains, func(c *nftables.Chain) bool { return c.Table.Name == name && c.Hooknum != nil }) {
			found = append(found, name)
		}
	}
	return found, nil
}

// replaceTable queues the removal of a table, whether there is one or not, and its creation.
func replaceTable(conn *nftables.Conn, name string, family nftables.TableFamily) *nftables.Table {
	table := &nftables.Table{Name: name, Family: family}
	conn.AddTable(table)
	conn.DelTable(table)
	return conn.AddTable(table)
}

// Delete removes the tables of that name and what is in the host's iptables chains for it, whoever made them. None there is no error.
func Delete(name string) error {
	if err := withdraw(name); err != nil {
		return err
	}
	both := names(name)
	return errors.Join(deleteTables(nftables.TableFamilyINet, both[:]), deleteTables(nftables.TableFamilyBridge, both[:1]))
}

// deleteTables removes those of the names that exist.
func deleteTables(family nftables.TableFamily, names []string) error {
	if len(names) == 0 {
		return nil
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	tables, err := conn.ListTablesOfFamily(family)
	if err != nil {
		return fmt.Errorf("list nftables tables: %w", err)
	}
	for _, table := range tables {
		if slices.Contains(names, table.Name) {
			conn.DelTable(table)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("delete nftables tables %q: %w", names, err)
	}
	return nil
}
