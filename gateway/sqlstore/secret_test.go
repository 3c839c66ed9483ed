package sqlstore_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/skerry-dev/skerry/gateway/sqlstore"
)

// TestSecretsOfBefore: what an earlier release has sealed in one piece is found in two.
func TestSecretsOfBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	const before = "0014"
	scripts, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	statements := []string{`CREATE TABLE schema_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)`}
	for _, script := range scripts {
		if filepath.Base(script)[:4] <= before {
			text, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			statements = append(statements, string(text))
		}
	}
	key, content := bytes.Repeat([]byte{7}, 72), []byte("what was sealed, of any length")
	statements = append(statements,
		`INSERT INTO schema_migrations (version, name, applied_at) VALUES (14, '0014', 0)`,
		`INSERT INTO apps (id, environment, name, description, state, stop_reason, version, tags, created_at) VALUES ('ap-1', 'main', '', 'a', 2, 0, 0, '{}', 0)`,
		`INSERT INTO secrets (id, app_id, sealed, created_at) VALUES ('st-1', 'ap-1', '`+base64.StdEncoding.EncodeToString(append(bytes.Clone(key), content...))+`', 5)`,
	)
	for _, s := range statements {
		if _, err := raw.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sqlstore.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := db.AdoptKey(t.Context(), "file-1"); err != nil {
		t.Fatal(err)
	}
	r, err := db.Secret(t.Context(), "st-1")
	if err != nil || r.AppID != "ap-1" || r.Sealed.KeyID != "file-1" || !bytes.Equal(r.Sealed.Key, key) || !bytes.Equal(r.Sealed.Content, content) {
		t.Errorf("Secret = %+v, %v", r, err)
	}
}
