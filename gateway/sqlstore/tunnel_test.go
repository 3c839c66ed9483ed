package sqlstore_test

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/gateway/tunnel"
)

func TestTunnels(t *testing.T) {
	path := storetest.Where(t)
	db, err := sqlstore.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	way := func(id string, port uint16, guarded bool) *tunnel.Way {
		return &tunnel.Way{WayKey: tunnel.WayKey{SandboxID: id, Port: port, Guarded: guarded}, Kind: tunnel.H2}
	}
	listening := way("a", 1, false)
	listening.Addr = netip.MustParseAddrPort("127.0.0.1:4711")
	moved := *listening
	moved.Addr = netip.MustParseAddrPort("127.9.9.9:1")
	closed := way("a", 2, false)
	closed.Closed = true
	gone, guarded := way("a", 3, false), way("a", 1, true)
	expires := time.UnixMilli(1_700_000_000_000).UTC()
	grant := func(hash, id string, port uint16) *tunnel.Grant {
		return &tunnel.Grant{Hash: hash, SandboxID: id, Port: port, Metadata: "m " + hash, ExpiresAt: expires}
	}
	lasting := grant("lasting", "a", 9)
	lasting.ExpiresAt = time.Time{}
	for _, changes := range [][]tunnel.Change{
		{{Way: listening}, {Way: closed}, {Way: gone}, {Way: guarded}, {Way: way("b", 1, false)}, {Way: &moved}},
		{{Grant: grant("one", "a", 1)}, {Grant: grant("two", "a", 2)}, {Grant: grant("three", "a", 3)}, {Grant: lasting}, {Grant: grant("b", "b", 1)}},
		{{Close: &gone.WayKey}, {Revoke: &tunnel.Revocation{SandboxID: "a", Port: 2}}, {Expire: "three"}, {Forget: "b"}},
		nil,
	} {
		if err := db.ChangeTunnels(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
	}
	// All or none: a grant that is there already undoes the rest.
	if err := db.ChangeTunnels(t.Context(), []tunnel.Change{{Forget: "a"}, {Grant: lasting}, {Grant: lasting}}); err == nil {
		t.Error("a grant was stored twice")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = sqlstore.Open(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ways, grants, err := db.Tunnels(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(ways, func(a, b tunnel.Way) int {
		return cmp.Compare(int(a.Port)*2+bit(a.Guarded), int(b.Port)*2+bit(b.Guarded))
	})
	slices.SortFunc(grants, func(a, b tunnel.Grant) int { return cmp.Compare(a.Port, b.Port) })
	if diff := gocmp.Diff([]tunnel.Way{moved, *guarded, *closed}, ways, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]tunnel.Grant{*grant("one", "a", 1), *lasting}, grants); diff != "" {
		t.Error(diff)
	}
	if err := db.ChangeTunnels(t.Context(), []tunnel.Change{{Revoke: &tunnel.Revocation{SandboxID: "a"}}}); err != nil {
		t.Fatal(err)
	}
	if _, grants, err = db.Tunnels(t.Context()); err != nil || len(grants) > 0 {
		t.Errorf("after all were revoked: %v, %v", grants, err)
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
