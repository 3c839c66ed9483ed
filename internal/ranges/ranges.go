// Package ranges lists the IPv4 and IPv6 addresses that are not the public internet: what untrusted code and what is fetched for it must
// not reach.
package ranges

import "net/netip"

// Private are ranges without the public internet that an operator may open.
func Private() []netip.Prefix {
	return parse(
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
		"100.64.0.0/10",    // carriers' NAT, and metadata of Alibaba's cloud
		"169.254.0.0/16",   // link-local: metadata of most clouds
		"192.0.0.0/24",     // protocol assignments: metadata of Oracle's cloud
		"168.63.129.16/32", // Azure's host agent, which is in a public range
	)
}

// Never are ranges that are nobody's on the internet and that nothing opens.
func Never() []netip.Prefix { return parse("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4") }

// Private6 are the IPv6 ranges of both kinds: the host, links, sites, and IPv4 in other words.
func Private6() []netip.Prefix {
	return parse("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fc00::/7", "fe80::/9", "ff00::/8")
}

func parse(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(texts))
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}
