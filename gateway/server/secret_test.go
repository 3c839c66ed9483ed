package server_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/server"
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
	const one, two = "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4=", "base64key://Bw-tsbDjZ0-FIhBhhTKr9K3lVRt8rIyLjNR6Z4dTt1Y="
	dir := t.TempDir()
	variables := map[string]string{"PASSWORD": "correct horse battery staple"}
	g, stop := startIn(t, dir, nil)
	id := call(t, g.secret.GetSecret, &skerryv1.GetSecretRequest{
		Name: "keys", Creation: skerryv1.ObjectCreation_OBJECT_CREATION_IF_MISSING, Variables: variables,
	}).GetInfo().GetId()
	stop()
	readable := func(when string, change func(*server.Config)) {
		t.Helper()
		g, stop := startIn(t, dir, change)
		defer stop()
		// To say whether a variable is there, the gateway has to open the secret.
		if got := call(t, g.secret.GetSecret, &skerryv1.GetSecretRequest{Name: "keys", RequiredKeys: []string{"PASSWORD"}}).GetInfo().GetId(); got != id {
			t.Errorf("%s: secret %q, want %q", when, got, id)
		}
	}
	rotate := func(change func(*server.Config)) {
		t.Helper()
		cfg := server.Config{Dir: filepath.Join(dir, "gateway")}
		if change != nil {
			change(&cfg)
		}
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
	rotateNone := server.Config{Dir: filepath.Join(dir, "gateway"), SecretsKey: two, SecretsKeysBefore: []string{one}}
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
