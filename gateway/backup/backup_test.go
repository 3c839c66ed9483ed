package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/backup"
	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/call/calltest"
	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/blob"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/s3test"
	"github.com/skerry-dev/skerry/internal/testbase"
)

// stores are real ones, and what is looked at in them.
type stores struct {
	db    *sqlstore.DB
	flow  *jetstream.Engine
	blobs *blob.Store
}

func (s *stores) all() backup.Stores {
	return backup.Stores{Records: s.db, Flow: s.flow, Blobs: s.blobs}
}

func openStores(t *testing.T, db string, flow jetstream.Config, blobs *blob.Store) *stores {
	t.Helper()
	s := &stores{blobs: blobs}
	var err error
	if s.db, err = sqlstore.Open(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if s.flow, err = jetstream.Open(t.Context(), flow, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.db.Close(), s.flow.Close(), s.blobs.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func embedded(t *testing.T) *stores {
	t.Helper()
	dir := t.TempDir()
	blobs, err := blob.Open(t.Context(), filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	return openStores(t, filepath.Join(dir, "db"), flowtest.Embedded(filepath.Join(dir, "flow")), blobs)
}

// larger are PostgreSQL, a NATS cluster and a bucket.
func larger(t *testing.T) *stores {
	t.Helper()
	pg, err := storetest.Start(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Close(); err != nil {
			t.Error(err)
		}
	})
	nats, err := flowtest.Start(t.Context(), testbase.Tool(t, "nats-server"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Close)
	s3test.Setenv(t)
	blobs, err := blob.OpenBucket(t.Context(), s3test.Start(t, "bucket").BlobURL("bucket"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return openStores(t, pg.URL, jetstream.Config{Cluster: jetstream.Cluster{URLs: nats.URLs}}, blobs)
}

const inputs = 300

// fill puts things of many kinds into stores, and returns the function and the call whose inputs are in the flow.
func fill(t *testing.T, s *stores) (functionID, callID string) {
	t.Helper()
	ctx := t.Context()
	functionID, callID = ident.New(ident.Function), ident.New(ident.Call)
	for i := range 40 {
		err := errors.Join(
			s.db.CreateApp(ctx, app.App{ID: ident.New(ident.App), Environment: "main", Description: fmt.Sprint("ä\t\"", i), State: app.Ephemeral, CreatedAt: time.UnixMilli(1<<41 + int64(i))}),
			s.db.CreateToken(ctx, identity.Record{Token: identity.Token{ID: fmt.Sprint("tk-", i), Role: identity.Admin, CreatedAt: time.UnixMilli(1)}, SecretHash: "h"}),
			s.db.ChangeTunnels(ctx, []tunnel.Change{{Way: &tunnel.Way{WayKey: tunnel.WayKey{SandboxID: "sb", Port: uint16(i), Guarded: i%2 == 0}, Closed: i%3 == 0}}}),
		)
		if _, _, aerr := s.blobs.Add(ctx, bytes.Repeat([]byte{byte(i)}, 100_000)); err != nil || aerr != nil {
			t.Fatal(err, aerr)
		}
	}
	if err := s.db.Accept(ctx, []call.Accept{{
		Record: call.Record{CallID: "fc-spawned", FunctionID: functionID, AppID: "ap", CreatedAt: time.UnixMilli(9)},
		Inputs: []call.Input{{Key: payload.Key{CallID: "fc-spawned"}, Args: payload.Payload{Format: payload.Pickle, Inline: []byte{0, 255}}}},
	}}); err != nil {
		t.Fatal(err)
	}
	calltest.Put(t, s.flow, calltest.Inputs(functionID, callID, inputs)...)
	calltest.PutOutput(t, s.flow, payload.Key{CallID: callID, Index: 7}, payload.Failed(payload.Failure, "boom"))
	return functionID, callID
}

// same fails unless two have the same.
func same(t *testing.T, want, got *stores, functionID, callID string) {
	t.Helper()
	if diff := cmp.Diff(rows(t, want.db), rows(t, got.db)); diff != "" {
		t.Errorf("records (-want +got):\n%.2000s", diff)
	}
	if diff := cmp.Diff(digests(t, want.blobs), digests(t, got.blobs)); diff != "" {
		t.Errorf("blobs (-want +got):\n%.2000s", diff)
	}
	waiting, err := got.flow.Waiting(t.Context(), functionID)
	if err != nil || waiting[functionID] != inputs {
		t.Errorf("waiting %v, %v", waiting, err)
	}
	was, err := want.flow.Output(t.Context(), payload.Key{CallID: callID, Index: 7})
	if err != nil {
		t.Fatal(err)
	}
	if is, err := got.flow.Output(t.Context(), payload.Key{CallID: callID, Index: 7}); err != nil || !cmp.Equal(is, was) {
		t.Errorf("output %+v, %v; want %+v", is, err, was)
	}
}

func rows(t *testing.T, db *sqlstore.DB) (all []string) {
	t.Helper()
	err := db.Save(t.Context(), func(table string, values map[string]any) error {
		for c, v := range values {
			if b, ok := v.(bool); ok { // SQLite has no type for these
				values[c] = map[bool]int64{true: 1}[b]
			}
		}
		all = append(all, fmt.Sprint(table, values))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func digests(t *testing.T, s *blob.Store) (all []string) {
	t.Helper()
	err := s.List(t.Context(), func(e blob.Entry) error {
		_, err := s.ReadAll(t.Context(), e.Digest, blob.MaxSize)
		all = append(all, e.Digest)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestArchives(t *testing.T) {
	from := embedded(t)
	functionID, callID := fill(t, from)
	var archive bytes.Buffer
	if err := backup.Write(t.Context(), from.all(), &archive, &backup.MasterKeys{Current: []byte("key"), Before: []byte("old")}, func(backup.Done) {}); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]func(*testing.T) *stores{"embedded": embedded, "larger": larger} {
		t.Run(name, func(t *testing.T) {
			s := to(t)
			if _, err := s.db.Apps(t.Context(), "", time.Now()); err != nil {
				t.Fatal(err)
			}
			done, err := backup.Read(t.Context(), s.all(), bytes.NewReader(archive.Bytes()), t.TempDir(), func(backup.Done) {})
			if err != nil {
				t.Fatal(err)
			}
			if done.Keys == nil || string(done.Keys.Current) != "key" || string(done.Keys.Before) != "old" || done.Blobs != 40 {
				t.Errorf("%+v", done)
			}
			same(t, from, s, functionID, callID)
			// And back.
			var again bytes.Buffer
			if err := backup.Write(t.Context(), s.all(), &again, nil, func(backup.Done) {}); err != nil {
				t.Fatal(err)
			}
			home := embedded(t)
			if done, err = backup.Read(t.Context(), home.all(), &again, t.TempDir(), func(backup.Done) {}); err != nil || done.Keys != nil {
				t.Fatal(done, err)
			}
			same(t, from, home, functionID, callID)
		})
	}
	for name, bad := range map[string][]byte{
		"cut off":  archive.Bytes()[:archive.Len()/2],
		"no end":   archive.Bytes()[:archive.Len()-4096],
		"nonsense": []byte("nonsense"),
		"changed":  bytes.Replace(bytes.Clone(archive.Bytes()), []byte("tk-7"), []byte("tk-x"), 1),
	} {
		s := embedded(t)
		if _, err := backup.Read(t.Context(), s.all(), bytes.NewReader(bad), t.TempDir(), func(backup.Done) {}); !errors.Is(err, fault.DataLoss) {
			t.Errorf("%s: %v", name, err)
		}
		if empty, err := s.db.Empty(t.Context()); err != nil || !empty {
			t.Errorf("%s: something is there: %v", name, err)
		}
	}
}

// TestMoveIsResumed is interrupted after every few steps.
func TestMoveIsResumed(t *testing.T) {
	from, to := embedded(t), larger(t)
	functionID, callID := fill(t, from)
	scratch := t.TempDir()
	for _, stop := range []int{5, 20, 41, 1 << 30} {
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		done, err := backup.Move(ctx, from.all(), to.all(), scratch, func(backup.Done) {
			if steps++; steps == stop {
				cancel()
			}
		})
		cancel()
		if stop < 1<<30 {
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("stopped after %d steps: %+v, %v", stop, done, err)
			}
			continue
		}
		if err != nil || done.Kept == 0 {
			t.Fatalf("%+v, %v", done, err)
		}
	}
	same(t, from, to, functionID, callID)
	if left, err := os.ReadDir(scratch); err != nil || len(left) != 0 {
		t.Errorf("left in the scratch folder: %v, %v", left, err)
	}
}
