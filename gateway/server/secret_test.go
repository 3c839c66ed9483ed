package server_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/backup"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/gateway/server"
	"github.com/skerry-dev/skerry/gateway/sqlstore/storetest"
	"github.com/skerry-dev/skerry/internal/blob"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// TestNamedSecrets are for everything in their environment, and for nothing in another.
func TestNamedSecrets(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	call(t, g.environments().CreateEnvironment, &skerryv1.CreateEnvironmentRequest{Name: "dev"})
	get := &skerryv1.GetSecretRequest{
		Name: "keys", Environment: "dev", Creation: skerryv1.ObjectCreation_OBJECT_CREATION_MUST_BE_NEW, Variables: map[string]string{"A": "1"},
	}
	made := call(t, g.secret.GetSecret, get).GetInfo()
	if made.GetEnvironment() != "dev" || made.GetCreatedBy() != "tester" || made.GetName() != "keys" {
		t.Errorf("made %v", made)
	}
	wantCode(t, fails(t, g.secret.GetSecret, get), connect.CodeAlreadyExists, "keys")
	wantCode(t, fails(t, g.secret.GetSecret, &skerryv1.GetSecretRequest{Name: "keys"}), connect.CodeNotFound, "skerry secret create keys")
	image := g.mustImage(t)
	def := function("f", image)
	def.SecretIds = []string{made.GetId()}
	publish := &skerryv1.PublishAppRequest{Functions: []*skerryv1.FunctionDefinition{def}}
	for environment, code := range map[string]connect.Code{"dev": 0, "main": connect.CodeNotFound} {
		publish.Environment = environment
		publish.AppId = call(t, g.app.CreateApp, &skerryv1.CreateAppRequest{
			Description: "d", State: skerryv1.AppState_APP_STATE_EPHEMERAL, Environment: environment,
		}).GetAppId()
		if code == 0 {
			call(t, g.app.PublishApp, publish)
		} else {
			wantCode(t, fails(t, g.app.PublishApp, publish), code, made.GetId())
		}
	}
	call(t, g.secret.UpdateSecret, &skerryv1.UpdateSecretRequest{SecretId: made.GetId(), Variables: map[string]string{"B": "2"}})
	call(t, g.secret.GetSecret, &skerryv1.GetSecretRequest{Name: "keys", Environment: "dev", RequiredKeys: []string{"A", "B"}})
	list := call(t, g.secret.ListSecrets, &skerryv1.ListSecretsRequest{Page: &skerryv1.ObjectPage{Environment: "dev"}}).GetSecrets()
	if len(list) != 1 || list[0].GetInfo().GetId() != made.GetId() || list[0].GetLastUsedAt() != nil {
		t.Errorf("list %v", list)
	}
	call(t, g.environments().DeleteEnvironment, &skerryv1.DeleteEnvironmentRequest{Name: "dev"})
	wantCode(t, fails(t, g.secret.DescribeSecret, &skerryv1.DescribeSecretRequest{SecretId: made.GetId()}), connect.CodeNotFound, "none")
}

// TestMasterKeys moves from the key in the folder to another of its kind, to a service, and to another service.
func TestMasterKeys(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) { masterKeys(t, "") })
	t.Run("PostgreSQL", func(t *testing.T) { masterKeys(t, postgres(t)) })
}

// postgres is an empty database of a PostgreSQL of its own.
func postgres(t *testing.T) string {
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
	return pg.URL
}

func masterKeys(t *testing.T, db string) {
	const one, two = "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4=", "base64key://Bw-tsbDjZ0-FIhBhhTKr9K3lVRt8rIyLjNR6Z4dTt1Y="
	dir := t.TempDir()
	variables := map[string]string{"PASSWORD": "correct horse battery staple"}
	with := func(change func(*server.Config)) func(*server.Config) {
		return func(c *server.Config) {
			c.DB = db
			if change != nil {
				change(c)
			}
		}
	}
	g, stop := startIn(t, dir, with(nil))
	id := call(t, g.secret.GetSecret, &skerryv1.GetSecretRequest{
		Name: "keys", Creation: skerryv1.ObjectCreation_OBJECT_CREATION_IF_MISSING, Variables: variables,
	}).GetInfo().GetId()
	stop()
	readable := func(when string, change func(*server.Config)) {
		t.Helper()
		g, stop := startIn(t, dir, with(change))
		defer stop()
		// To say whether a variable is there, the gateway has to open the secret.
		if got := call(t, g.secret.GetSecret, &skerryv1.GetSecretRequest{Name: "keys", RequiredKeys: []string{"PASSWORD"}}).GetInfo().GetId(); got != id {
			t.Errorf("%s: secret %q, want %q", when, got, id)
		}
	}
	rotate := func(change func(*server.Config)) {
		t.Helper()
		cfg := server.Config{Dir: filepath.Join(dir, "gateway")}
		with(change)(&cfg)
		if n, err := server.RotateKey(t.Context(), cfg); err != nil || n != 1 {
			t.Fatalf("rotate: %d, %v", n, err)
		}
	}
	file := filepath.Join(dir, "gateway", "master.key")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rotate(nil)
	readable("another file", nil)
	if after, err := os.ReadFile(file); err != nil || bytes.Equal(before, after) {
		t.Errorf("the key was not changed, %v", err)
	}
	inOne := func(c *server.Config) { c.SecretsKey = one }
	rotate(inOne)
	readable("a service", inOne)
	if _, err := os.Stat(file); err == nil {
		t.Error("the file is still there")
	}
	inTwo := func(c *server.Config) { c.SecretsKey, c.SecretsKeysBefore = two, []string{one} }
	readable("another service, from its first start on", inTwo)
	rotateNone := server.Config{Dir: filepath.Join(dir, "gateway"), DB: db, SecretsKey: two, SecretsKeysBefore: []string{one}}
	if _, err := server.RotateKey(t.Context(), rotateNone); err != nil {
		t.Fatal(err)
	}
	readable("another service alone", func(c *server.Config) { c.SecretsKey = two })
	// Nothing of keys and values is in the folder.
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, what := range [][]byte{[]byte(variables["PASSWORD"]), []byte(one[12:40]), []byte(two[12:40]), before} {
			if bytes.Contains(content, what) {
				t.Errorf("%s has %q", path, what)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBackupWithinARotation takes a backup after a new master key was made and before the secrets are sealed under it, and restores it elsewhere.
func TestBackupWithinARotation(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	g, stop := startIn(t, dir, nil)
	call(t, g.secret.GetSecret, &skerryv1.GetSecretRequest{
		Name: "keys", Creation: skerryv1.ObjectCreation_OBJECT_CREATION_IF_MISSING, Variables: map[string]string{"PASSWORD": "correct horse"},
	})
	stop()
	from := server.Config{Dir: filepath.Join(dir, "gateway")}
	ring, err := secret.OpenRing(from.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Renew(); err != nil {
		t.Fatal(err)
	}
	keys, err := server.ReadMasterKeys(from.Dir)
	if err != nil || keys.Before == nil {
		t.Fatalf("%+v, %v", keys, err)
	}
	var archive bytes.Buffer
	withStores(t, from, filepath.Join(dir, "blobs"), func(s backup.Stores) error {
		return backup.Write(t.Context(), s, &archive, keys, func(backup.Done) {})
	})
	to := server.Config{Dir: filepath.Join(elsewhere, "gateway")}
	withStores(t, to, filepath.Join(elsewhere, "blobs"), func(s backup.Stores) error {
		done, err := backup.Read(t.Context(), s, &archive, t.TempDir(), func(backup.Done) {})
		if err != nil {
			return err
		}
		return server.WriteMasterKeys(to.Dir, done.Keys)
	})
	g, stop = startIn(t, elsewhere, nil)
	// To say whether a variable is there, the gateway has to open the secret.
	call(t, g.secret.GetSecret, &skerryv1.GetSecretRequest{Name: "keys", RequiredKeys: []string{"PASSWORD"}})
	stop()
	if n, err := server.RotateKey(t.Context(), to); n != 1 || err != nil {
		t.Errorf("another rotation: %d, %v", n, err)
	}
	if left, err := server.ReadMasterKeys(to.Dir); err != nil || left.Before != nil || bytes.Equal(left.Current, keys.Current) {
		t.Errorf("the old key is left, or the new one is the same: %v", err)
	}
}

func withStores(t *testing.T, cfg server.Config, blobs string, f func(backup.Stores) error) {
	t.Helper()
	store, err := blob.Open(t.Context(), blobs)
	if err != nil {
		t.Fatal(err)
	}
	stores, closeAll, err := server.OpenStores(t.Context(), cfg, store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f(stores), closeAll(), store.Close()); err != nil {
		t.Fatal(err)
	}
}
