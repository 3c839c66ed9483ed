package secret_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/app"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/sqlstore"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

func ring(t *testing.T, dir string) *secret.Ring {
	t.Helper()
	r, err := secret.OpenRing(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealer(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, secret.KeyFile)
	s := ring(t, dir).Sealer()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", st, err)
	}
	sealed, err := s.Seal(t.Context(), "st-1", []byte("hunter2"))
	if err != nil || bytes.Contains(append(sealed.Content, sealed.Key...), []byte("hunter2")) {
		t.Fatalf("sealed = %q, %v", sealed, err)
	}
	again := ring(t, dir).Sealer()
	if plain, err := again.Open(t.Context(), "st-1", sealed); err != nil || string(plain) != "hunter2" {
		t.Errorf("Open = %q, %v", plain, err)
	}
	if _, err := again.Open(t.Context(), "st-2", sealed); !errors.Is(err, fault.DataLoss) {
		t.Errorf("under another id: %v", err)
	}
	for i := range sealed.Content {
		bent := sealed
		bent.Content = bytes.Clone(sealed.Content)
		bent.Content[i] ^= 1
		if _, err := again.Open(t.Context(), "st-1", bent); !errors.Is(err, fault.DataLoss) {
			t.Fatalf("byte %d of the content changed: %v", i, err)
		}
	}
	for i := range sealed.Key {
		bent := sealed
		bent.Key = bytes.Clone(sealed.Key)
		bent.Key[i] ^= 1
		if _, err := again.Open(t.Context(), "st-1", bent); !errors.Is(err, fault.DataLoss) {
			t.Fatalf("byte %d of the key changed: %v", i, err)
		}
	}
	if _, err := again.Open(t.Context(), "st-1", secret.Sealed{}); !errors.Is(err, fault.DataLoss) {
		t.Errorf("empty: %v", err)
	}
	if _, err := ring(t, t.TempDir()).Sealer().Open(t.Context(), "st-1", sealed); !errors.Is(err, fault.DataLoss) {
		t.Errorf("with another key: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.OpenRing(dir, nil); !errors.Is(err, fault.Precondition) {
		t.Errorf("readable by others: %v", err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.OpenRing(dir, nil); !errors.Is(err, fault.DataLoss) {
		t.Errorf("half a key: %v", err)
	}
}

// noStore is for what must be refused before it is stored.
type noStore struct {
	secret.Store
	secret.Rotation
}

func TestRefusedVariables(t *testing.T) {
	s := secret.New(noStore{}, noStore{}, ring(t, t.TempDir()).Sealer())
	for name, vars := range map[string]map[string]string{
		"digit first": {"1A": ""}, "equals": {"A=B": ""}, "empty name": {"": "x"}, "reserved": {"SKERRY_TOKEN": "x"},
		"zero byte": {"A": "x\x00y"}, "too large": {"A": strings.Repeat("x", secret.MaxSize)},
	} {
		if _, err := s.Create(t.Context(), "ap-x", vars); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.CreateNamed(t.Context(), secret.Record{Name: "a b"}, nil); !errors.Is(err, fault.Invalid) {
		t.Errorf("name: %v", err)
	}
}

func database(t *testing.T) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), storetest.Where(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestNamedSecrets(t *testing.T) {
	db := database(t)
	s := secret.New(db, db, ring(t, t.TempDir()).Sealer())
	named := secret.Record{Environment: "main", Name: "keys", CreatedBy: "me"}
	made, err := s.CreateNamed(t.Context(), named, map[string]string{"A": "1", "B": "2"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateNamed(t.Context(), named, nil); !errors.Is(err, fault.Exists) {
		t.Errorf("twice: %v", err)
	}
	if r, err := s.Ensure(t.Context(), named, map[string]string{"A": "9"}); err != nil || r.ID != made.ID {
		t.Errorf("Ensure = %+v, %v", r, err)
	}
	if _, err := s.Get(t.Context(), "main", "keys", []string{"A", "C"}); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), `"C"`) {
		t.Errorf("required: %v", err)
	}
	if err := s.Update(t.Context(), made.ID, map[string]string{"B": "3", "C": "4"}, false); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Get(t.Context(), "main", "keys", []string{"A", "C"}); err != nil || !r.LastUsedAt.IsZero() {
		t.Errorf("Get = %+v, %v", r, err)
	}
	if env, err := s.Env(t.Context(), []string{made.ID}); err != nil || len(env) != 3 || env["A"] != "1" || env["B"] != "3" {
		t.Errorf("Env = %v, %v", env, err)
	}
	if r, err := s.Describe(t.Context(), made.ID); err != nil || r.LastUsedAt.IsZero() {
		t.Errorf("after its use: %+v, %v", r, err)
	}
	if err := s.Update(t.Context(), made.ID, map[string]string{"Z": "0"}, true); err != nil {
		t.Fatal(err)
	}
	if env, err := s.Env(t.Context(), []string{made.ID}); err != nil || len(env) != 1 {
		t.Errorf("replaced: %v, %v", env, err)
	}
	if err := s.Update(t.Context(), made.ID, map[string]string{"Y": strings.Repeat("y", secret.MaxSize)}, false); !errors.Is(err, fault.Invalid) {
		t.Errorf("too large together: %v", err)
	}
	owner := secret.Owner{AppID: "ap-1", Environment: "main"}
	if err := s.Check(t.Context(), owner, made.ID); err != nil {
		t.Error(err)
	}
	owner.Environment = "en-other"
	if err := s.Check(t.Context(), owner, made.ID); !errors.Is(err, fault.NotFound) {
		t.Errorf("another environment's: %v", err)
	}
	if list, err := s.List(t.Context(), "main", made.CreatedAt.Add(1e9), 0); err != nil || len(list) != 1 {
		t.Errorf("List = %v, %v", list, err)
	}
	if err := s.Delete(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Env(t.Context(), []string{made.ID}); !errors.Is(err, fault.NotFound) {
		t.Errorf("deleted: %v", err)
	}
}

// brittle is a store that breaks after some changes, as a crash would.
type brittle struct {
	*sqlstore.DB
	left int
}

var errCrash = errors.New("crash")

func (b *brittle) ReplaceSealed(ctx context.Context, id string, old, sealed secret.Sealed) (bool, error) {
	if b.left--; b.left < 0 {
		return false, errCrash
	}
	return b.DB.ReplaceSealed(ctx, id, old, sealed)
}

// TestRotation breaks off at every step: whatever is there then opens every secret, and the next start goes on.
func TestRotation(t *testing.T) {
	db, dir := database(t), t.TempDir()
	s := secret.New(db, db, ring(t, dir).Sealer())
	a := app.App{ID: ident.New(ident.App), Environment: "main", State: app.Ephemeral}
	if err := db.CreateApp(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 3 {
		id, err := s.Create(t.Context(), a.ID, map[string]string{"A": "value of the secret"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	readable := func(when string) {
		t.Helper()
		now := secret.New(db, db, ring(t, dir).Sealer()) // as a gateway that starts
		for _, id := range ids {
			if env, err := now.Env(t.Context(), []string{id}); err != nil || env["A"] != "value of the secret" {
				t.Errorf("%s: secret %s: %v, %v", when, id, env, err)
			}
		}
	}
	path, old := filepath.Join(dir, secret.KeyFile), filepath.Join(dir, secret.KeyFile+".old")
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// After the first step: both names are the old key's.
	if err := os.Link(path, old); err != nil {
		t.Fatal(err)
	}
	readable("the old key is kept")
	if n, err := ring(t, dir).Reseal(t.Context(), db); n != 0 || err != nil {
		t.Errorf("nothing to be done: %d, %v", n, err)
	}
	if err := ring(t, dir).Renew(); err != nil {
		t.Fatal(err)
	}
	readable("the new key is in place")
	if err := ring(t, dir).Renew(); !errors.Is(err, fault.Precondition) {
		t.Errorf("another one before the first is through: %v", err)
	}
	for left := range 3 {
		n, err := ring(t, dir).Reseal(t.Context(), &brittle{db, left})
		if left < 2 && (!errors.Is(err, errCrash) || n != left) {
			t.Errorf("broken off after %d: %d, %v", left, n, err)
		}
		readable("broken off")
	}
	if n, err := ring(t, dir).Reseal(t.Context(), db); err != nil {
		t.Errorf("to the end: %d, %v", n, err)
	}
	readable("rotated")
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old key: %v", err)
	}
	if now, err := os.ReadFile(path); err != nil || bytes.Equal(now, first) {
		t.Errorf("the key is the same, %v", err)
	}
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.OpenRing(dir, nil); !errors.Is(err, fault.DataLoss) {
		t.Errorf("only an old key: %v", err)
	}
}

// TestListsAreWhole pages through secrets that were made in the same moment.
func TestListsAreWhole(t *testing.T) {
	db := database(t)
	s := secret.New(db, db, ring(t, t.TempDir()).Sealer())
	const count = 50
	made := map[string]bool{}
	for i := range count {
		r, err := s.CreateNamed(t.Context(), secret.Record{Environment: "main", Name: fmt.Sprint("s", i)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		made[r.Name] = true
	}
	var before time.Time
	for len(made) > 0 {
		page, err := s.List(t.Context(), "main", before, 7)
		if err != nil || len(page) == 0 {
			t.Fatalf("%d of %d were not listed: %v", len(made), count, err)
		}
		for _, r := range page {
			if !made[r.Name] {
				t.Errorf("%q comes twice", r.Name)
			}
			delete(made, r.Name)
			before = r.CreatedAt
		}
	}
}
