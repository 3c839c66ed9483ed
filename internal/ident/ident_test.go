package ident_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

func TestNewPassesCheck(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := ident.New(ident.Call)
		if err := ident.Check(ident.Call, id); err != nil {
			t.Fatal(err)
		}
		if seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[id] = true
	}
}

func TestDerive(t *testing.T) {
	a, b := ident.Derive(ident.Image, []byte("a")), ident.Derive(ident.Image, []byte("b"))
	if a == b || a != ident.Derive(ident.Image, []byte("a")) {
		t.Errorf("a=%s b=%s", a, b)
	}
	if err := ident.Check(ident.Image, a); err != nil {
		t.Error(err)
	}
}

func TestCheckRefuses(t *testing.T) {
	for _, id := range []string{"", "fc-", "fu-0123456789012345678901", "fc-012345678901234567890", "fc-0123456789012345678901x", "fc-../../../../etc/passwd", "fc-012345678901234567890 "} {
		if err := ident.Check(ident.Call, id); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "my-app_1.2", strings.Repeat("x", 64), "ap-short"} {
		if err := ident.CheckName("app", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a b", "a/b", strings.Repeat("x", 65), ident.New(ident.App), "ä"} {
		if err := ident.CheckName("app", name); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestDigest(t *testing.T) {
	d := ident.Digest([]byte("x"))
	if err := ident.CheckDigest(d); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", d + "0", strings.ToUpper(d), "sha256:" + strings.Repeat("g", 64)} {
		if err := ident.CheckDigest(bad); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
