package policy

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	maxName    = 253
	maxLabel   = 63
	everything = "*"
	below      = "*."
)

// Name returns a host name in the spelling that policies compare: lower case, letters of other scripts as xn--, without the dot at the
// end. Errors: fault.Invalid for what is no name, addresses included.
func Name(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	if !ascii(name) {
		encoded, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", fault.New(fault.Invalid, "domain %q: not a host name", clip(s))
		}
		name = encoded
	}
	if name == "" || len(name) > maxName || !labels(name) {
		return "", fault.New(fault.Invalid, "domain %q: not a host name; write it as example.com, without scheme, port and path", clip(s))
	}
	if _, err := netip.ParseAddr(name); err == nil || numeric(name) {
		return "", fault.New(fault.Invalid, "domain %q: an address; list it as a range, such as 192.0.2.1/32", clip(s))
	}
	return name, nil
}

// pattern is Name for entries of lists.
func pattern(s string) (string, error) {
	if s == everything {
		return everything, nil
	}
	rest, wild := strings.CutPrefix(s, below)
	name, err := Name(rest)
	if err != nil {
		return "", fault.New(fault.Invalid, "domain %q: not example.com, *.example.com or *", clip(s))
	}
	if wild {
		return below + name, nil
	}
	return name, nil
}

// matches says whether one of the patterns has name.
func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		suffix, wild := strings.CutPrefix(p, everything)
		if p == name || wild && len(name) > len(suffix) && strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// labels says whether a name is made of labels that names of hosts and services have; underscores are in some.
func labels(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// numeric says whether some programs would take the name for an address, as they do 127.1, 0x7f000001 and 2130706433: its last label
// begins with a digit. No top-level domain does.
func numeric(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last[0] >= '0' && last[0] <= '9'
}

// clip shortens what is quoted in errors.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
