package rules

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/fault"
)

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   []netip.Prefix
		want [][2]string
	}{
		"none":     {},
		"apart":    {prefixes("10.2.0.0/16", "10.0.0.0/16"), [][2]string{{"10.0.0.0", "10.0.255.255"}, {"10.2.0.0", "10.2.255.255"}}},
		"nested":   {prefixes("10.0.0.0/8", "10.77.0.0/24", "10.0.0.0/24"), [][2]string{{"10.0.0.0", "10.255.255.255"}}},
		"touching": {prefixes("10.0.1.0/24", "10.0.0.0/24"), [][2]string{{"10.0.0.0", "10.0.1.255"}}},
		"to the end": {
			prefixes("240.0.0.0/4", "224.0.0.0/4", "255.255.255.255/32"), [][2]string{{"224.0.0.0", "255.255.255.255"}},
		},
		"one address": {prefixes("168.63.129.16/32"), [][2]string{{"168.63.129.16", "168.63.129.16"}}},
		"host bits":   {prefixes("10.1.2.3/8"), [][2]string{{"10.0.0.0", "10.255.255.255"}}},
	} {
		var got [][2]string
		for _, r := range merge(c.in) {
			got = append(got, [2]string{r.first.String(), r.last.String()})
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestValidOpen(t *testing.T) {
	t.Parallel()
	for _, p := range prefixes("10.0.0.0/8", "10.77.0.10/32", "192.168.0.0/16", "169.254.169.254/32", "100.64.0.0/12", "168.63.129.16/32") {
		if err := ValidOpen(p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, p := range append(prefixes("0.0.0.0/0", "10.0.0.0/7", "127.0.0.1/32", "224.0.0.0/4", "8.8.8.8/32", "fd00::/8"), netip.Prefix{}) {
		if err := ValidOpen(p); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want invalid", p, err)
		}
	}
}

// TestPublicStaysOpen: ranges that look special and must not be closed.
func TestPublicStaysOpen(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.128.0.0", "223.255.255.255"} {
		for _, p := range append(append([]netip.Prefix{}, openable...), never...) {
			if p.Contains(netip.MustParseAddr(a)) {
				t.Errorf("%s is closed by %s", a, p)
			}
		}
	}
}
