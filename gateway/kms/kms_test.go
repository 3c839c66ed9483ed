package kms_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/gateway/kms"
	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/internal/fault"
)

const local = "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4="

func open(t *testing.T, url string) *kms.Key {
	t.Helper()
	k, err := kms.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func TestKeys(t *testing.T) {
	k := open(t, local)
	sealed, err := k.Seal(t.Context(), []byte("data key"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := open(t, local).Open(t.Context(), sealed); err != nil || string(plain) != "data key" {
		t.Errorf("Open = %q, %v", plain, err)
	}
	if id := k.ID(); id != open(t, local).ID() || strings.Contains(local, strings.TrimPrefix(id, "base64key-")) {
		t.Errorf("id %q", id)
	}
	if _, err := k.Open(t.Context(), []byte("something else")); !errors.Is(err, fault.Unavailable) {
		t.Errorf("other bytes: %v", err)
	}
}

// TestURLsThatCanNotBe are refused without the key that may be in them.
func TestURLsThatCanNotBe(t *testing.T) {
	for _, url := range []string{"", "smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolC", "base64key://", "base64key://smGbjm71Nxd1Ig5FS0wj9Slb", "nokms://smGbjm71Nxd1Ig5FS0wj9Slb", "::smGbjm71Nxd1Ig5FS0wj9Slb"} {
		if _, err := kms.Open(t.Context(), url); !errors.Is(err, fault.Invalid) || strings.Contains(err.Error(), "smGbjm71") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// vault is the part of a Vault server's transit engine that there is to a key, by its documentation.
func vault(t *testing.T, sealed *bool) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if *sealed || r.Header.Get("X-Vault-Token") != "token" {
			http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
			return
		}
		body, err := io.ReadAll(r.Body)
		var ask struct{ Plaintext, Ciphertext string }
		if err != nil || json.Unmarshal(body, &ask) != nil {
			t.Errorf("request %q: %v", body, err)
		}
		data := map[string]string{}
		switch r.URL.Path {
		case "/v1/transit/encrypt/skerry":
			data["ciphertext"] = "vault:v1:" + base64.StdEncoding.EncodeToString([]byte(ask.Plaintext))
		case "/v1/transit/decrypt/skerry":
			text, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(ask.Ciphertext, "vault:v1:"))
			if err != nil {
				http.Error(w, `{"errors":["invalid ciphertext"]}`, http.StatusBadRequest)
				return
			}
			data["plaintext"] = string(text)
		default:
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(map[string]any{"data": data}); err != nil {
			t.Error(err)
		}
	})
}

// TestService has data keys sealed by a server, and asks it once for each.
func TestService(t *testing.T) {
	away := false
	server := httptest.NewServer(vault(t, &away))
	defer server.Close()
	t.Setenv("VAULT_SERVER_URL", server.URL)
	t.Setenv("VAULT_SERVER_TOKEN", "token")
	k := open(t, "hashivault://skerry")
	r, err := secret.OpenRing(t.TempDir(), k)
	if err != nil {
		t.Fatal(err)
	}
	s := r.Sealer()
	one, err := s.Seal(t.Context(), "st-1", []byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := s.Open(t.Context(), "st-1", one); err != nil || string(plain) != "hunter2" {
		t.Errorf("Open = %q, %v", plain, err)
	}
	two, err := s.Seal(t.Context(), "st-2", []byte("hunter3"))
	if err != nil {
		t.Fatal(err)
	}
	away = true
	if plain, err := s.Open(t.Context(), "st-1", one); err != nil || string(plain) != "hunter2" {
		t.Errorf("while the server is away, what was opened: %q, %v", plain, err)
	}
	if _, err := s.Open(t.Context(), "st-2", two); !errors.Is(err, fault.Unavailable) {
		t.Errorf("while the server is away: %v", err)
	}
}
