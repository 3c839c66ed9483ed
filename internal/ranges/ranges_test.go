package ranges

import (
	"net/netip"
	"slices"
	"testing"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": false, "198.51.100.2": false, "2606:4700::1": false, "127.0.0.53": true, "169.254.169.254": true, "10.1.2.3": true,
		"172.31.0.1": true, "172.32.0.1": false, "100.100.100.200": true, "168.63.129.16": true, "192.0.0.192": true, "::1": true,
		"::ffff:10.0.0.1": true, "fd00:ec2::254": true, "fe80::1": true,
	} {
		a := netip.MustParseAddr(text)
		got := slices.ContainsFunc(slices.Concat(Private(), Never(), Private6()), func(p netip.Prefix) bool { return p.Contains(a) })
		if got != want {
			t.Errorf("%s: closed %v, want %v", text, got, want)
		}
	}
}
