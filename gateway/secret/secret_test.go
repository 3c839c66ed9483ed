package secret_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/gateway/secret"
	"github.com/skerry-dev/skerry/internal/fault"
)

func TestSealer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	s, err := secret.OpenSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v", st, err)
	}
	sealed, err := s.Seal("st-1", []byte("hunter2"))
	if err != nil || bytes.Contains(sealed, []byte("hunter2")) {
		t.Fatalf("sealed = %q, %v", sealed, err)
	}
	again, err := secret.OpenSealer(path)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := again.Open("st-1", sealed); err != nil || string(plain) != "hunter2" {
		t.Errorf("Open = %q, %v", plain, err)
	}
	if _, err := again.Open("st-2", sealed); !errors.Is(err, fault.DataLoss) {
		t.Errorf("under another id: %v", err)
	}
	for i := range sealed {
		bent := bytes.Clone(sealed)
		bent[i] ^= 1
		if _, err := again.Open("st-1", bent); !errors.Is(err, fault.DataLoss) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	if _, err := again.Open("st-1", nil); !errors.Is(err, fault.DataLoss) {
		t.Errorf("empty: %v", err)
	}
	other, err := secret.OpenSealer(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open("st-1", sealed); !errors.Is(err, fault.DataLoss) {
		t.Errorf("with another key: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.OpenSealer(path); !errors.Is(err, fault.Precondition) {
		t.Errorf("readable by others: %v", err)
	}
}

// noStore is for what must be refused before it is stored.
type noStore struct{ secret.Store }

func TestRefusedVariables(t *testing.T) {
	sealer, err := secret.OpenSealer(filepath.Join(t.TempDir(), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	s := secret.New(noStore{}, sealer)
	for name, vars := range map[string]map[string]string{
		"digit first": {"1A": ""}, "equals": {"A=B": ""}, "empty name": {"": "x"}, "reserved": {"SKERRY_TOKEN": "x"},
		"zero byte": {"A": "x\x00y"}, "too large": {"A": strings.Repeat("x", secret.MaxSize)},
	} {
		if _, err := s.Create(context.Background(), "ap-x", vars); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
