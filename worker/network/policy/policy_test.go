package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"example.com": "example.com", "Example.COM.": "example.com", "_svc.a-b.example": "_svc.a-b.example", "bücher.example": "xn--bcher-kva.example",
		"localhost": "localhost", strings.Repeat("a", 63) + ".b": strings.Repeat("a", 63) + ".b",
	} {
		if got, err := policy.Name(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ".", "a..b", "-a.b", "a-.b", "a b", "a/b", "https://a.b", "a.b:443", "*.a", "192.0.2.1", "127.1", "2130706433", "0x7f000001", "a.0x1",
		"::1", "[::1]", strings.Repeat("a", 64), strings.Repeat("a.", 200) + "a", "a\x00b", "a%b", "user@a.b", "bü cher.example",
	} {
		if got, err := policy.Name(in); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
}

func TestHasName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		domains string
		yes, no string
	}{
		{"example.com", "example.com", "a.example.com example.com.evil.test notexample.com com"},
		{"*.example.com", "a.example.com a.b.example.com", "example.com .example.com aexample.com a.example.com.evil.test"},
		{"*", "example.com localhost", ""},
		{"*.Example.COM example.com", "example.com x.example.com", "example.org"},
		{"", "", "example.com"},
	} {
		p, err := policy.Policy{Domains: strings.Fields(c.domains)}.Normal()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(c.yes) {
			if !p.HasName(name) {
				t.Errorf("%q doesn't have %s", c.domains, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if p.HasName(name) {
				t.Errorf("%q has %s", c.domains, name)
			}
		}
	}
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	value := policy.NewValue("value")
	for name, p := range map[string]policy.Policy{
		"blocked and listed":     {Block: true, CIDRs: []netip.Prefix{}},
		"blocked with secrets":   {Block: true, Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Header: "X", Value: value}}},
		"no range":               {CIDRs: []netip.Prefix{{}}},
		"mapped range":           {CIDRs: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}},
		"too many domains":       {Domains: make([]string, policy.MaxDomains+1)},
		"wildcard in the middle": {Domains: []string{"a.*.test"}},
		"wildcard label":         {Domains: []string{"a*.test"}},
		"two wildcards":          {Domains: []string{"*.*.test"}},
		"no hosts":               {Secrets: []policy.Secret{{Header: "X", Value: value}}},
		"any host":               {Secrets: []policy.Secret{{Hosts: []string{"*"}, Header: "X", Value: value}}},
		"neither":                {Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Value: value}}},
		"framing":                {Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Header: "content-length", Value: value}}},
		"not a header":           {Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Header: "a b", Value: value}}},
		"header in a body":       {Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Header: "X", Body: true, Value: value}}},
		"short placeholder":      {Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Placeholder: "a", Value: value}}},
		"placeholder with space": {Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Placeholder: "place holder", Value: value}}},
		"newline in the value":   {Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Header: "X", Value: policy.NewValue("a\r\nb: c")}}},
		"long value":             {Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Header: "X", Value: policy.NewValue(strings.Repeat("a", policy.MaxValue+1))}}},
	} {
		if got, err := p.Normal(); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		} else if strings.Contains(err.Error(), "b: c") {
			t.Errorf("%s: the error has the value: %v", name, err)
		}
	}
}

// TestRecord: nil and empty lists stay apart in a record, and no value gets into it.
func TestRecord(t *testing.T) {
	t.Parallel()
	for _, p := range []policy.Policy{
		{}, {Block: true}, {CIDRs: []netip.Prefix{}}, {Domains: []string{}}, {CIDRs: []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}, Domains: []string{"*"}},
		{Secrets: []policy.Secret{{Hosts: []string{"a.test"}, Placeholder: "placeholder", Query: true, Body: true, Value: policy.NewValue("hush-hush")}}},
	} {
		encoded, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back policy.Policy
		if err := json.Unmarshal(encoded, &back); err != nil {
			t.Fatal(err)
		}
		for i := range p.Secrets {
			p.Secrets[i].Value = policy.Value{}
		}
		if diff := cmp.Diff(p, back, cmp.Comparer(func(a, b policy.Value) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", encoded, diff)
		}
		if strings.Contains(string(encoded), "hush") {
			t.Errorf("the record has the value: %s", encoded)
		}
	}
}

func TestValuesDontShow(t *testing.T) {
	t.Parallel()
	s := policy.Secret{Hosts: []string{"a.test"}, Header: "X", Value: policy.NewValue("hush-hush")}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "value", s.Value, "pointer", &s)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "value", s.Value, "pointer", &s)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		log.WriteString(fmt.Sprintf(verb, s) + fmt.Sprintf(verb, s.Value) + fmt.Sprintf(verb, &s))
	}
	for _, shown := range []string{"hush", "687573", "104 117"} {
		if strings.Contains(log.String(), shown) {
			t.Errorf("shown: %s", log.String())
		}
	}
	if s.Value.Reveal() != "hush-hush" || !s.Value.Known() || (policy.Value{}).Known() {
		t.Error("the value is lost")
	}
}
