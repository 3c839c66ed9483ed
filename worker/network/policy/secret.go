package policy

import (
	"fmt"
	"io"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds of a secret.
const (
	MaxHosts = 100
	// MinValue, MaxValue and MaxPlaceholder are in bytes. A shorter value could not be told from other text where an answer repeats it.
	MinValue = 4
	// MinPlaceholder keeps a placeholder from being found where nobody put it.
	MaxValue       = 8 << 10
	MaxPlaceholder = 256
	MinPlaceholder = 8
)

// Secret is a value that the proxy adds to HTTPS requests for some hosts, so that it never is in the sandbox. It has a Header, which is set
// to the value, or else a Placeholder, which is replaced by it.
type Secret struct {
	// Hosts are names or, as in Policy.Domains, all names below one.
	Hosts []string `json:"hosts"`
	// Header is the name of a header that requests get, in place of any that they have.
	Header string `json:"header,omitempty"`
	// Placeholder is replaced in values of headers, in user and password of basic authentication too. With a Header there is none.
	Placeholder string `json:"placeholder,omitempty"`
	// Query says that the placeholder is replaced in the query of the URL as well, Body that it is in the body.
	Query bool `json:"query,omitempty"`
	Body  bool `json:"body,omitempty"`
	// Value is not in the JSON. Requests for hosts of a secret without one are refused.
	Value Value `json:"-"`
}

// unsettable are headers that say how a message is framed or where it goes.
var unsettable = map[string]bool{
	"Host": true, "Content-Length": true, "Transfer-Encoding": true, "Connection": true, "Upgrade": true, "Te": true, "Trailer": true,
	"Keep-Alive": true, "Proxy-Connection": true, "Expect": true,
}

func (s Secret) normal() (Secret, error) {
	if len(s.Hosts) == 0 || len(s.Hosts) > MaxHosts {
		return Secret{}, fault.New(fault.Invalid, "%d hosts; name 1 to %d", len(s.Hosts), MaxHosts)
	}
	hosts := make([]string, 0, len(s.Hosts))
	for _, h := range s.Hosts {
		name, err := pattern(h)
		if err != nil {
			return Secret{}, err
		}
		if name == everything {
			return Secret{}, fault.New(fault.Invalid, "host %q: whoever runs any host would get the value; name the hosts", h)
		}
		hosts = append(hosts, name)
	}
	s.Hosts = hosts
	switch {
	case s.Header == "" && s.Placeholder == "":
		return Secret{}, fault.New(fault.Invalid, "needs a header to set or a placeholder to replace")
	case s.Header != "":
		s.Header = textproto.CanonicalMIMEHeaderKey(s.Header)
		if !httpguts.ValidHeaderFieldName(s.Header) || unsettable[s.Header] {
			return Secret{}, fault.New(fault.Invalid, "header %q: not one that can be set", clip(s.Header))
		}
		if s.Query || s.Body {
			return Secret{}, fault.New(fault.Invalid, "header %q: only a placeholder is replaced in queries and bodies", clip(s.Header))
		}
		s.Placeholder = ""
	case len(s.Placeholder) < MinPlaceholder || len(s.Placeholder) > MaxPlaceholder || !plain(s.Placeholder):
		return Secret{}, fault.New(fault.Invalid, "placeholder: not %d to %d letters, digits, dots, dashes or underscores", MinPlaceholder, MaxPlaceholder)
	}
	if !s.Value.valid() {
		return Secret{}, fault.New(fault.Invalid, "value: not %d to %d bytes that a header takes", MinValue, MaxValue)
	}
	return s, nil
}

// plain says whether a placeholder is made of bytes that no encoding of queries, bodies or headers changes.
func plain(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}) < 0
}

// Value is a secret text. However it is printed, logged or encoded, only Reveal shows it.
type Value struct{ text string }

// NewValue keeps text.
func NewValue(text string) Value { return Value{text} }

// Known says whether there is one.
func (v Value) Known() bool { return v.text != "" }

// Reveal returns the text, for the one who sends it.
func (v Value) Reveal() string { return v.text }

// Format prints that there is a value, for every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) } // a state takes all

// String says that there is a value.
func (v Value) String() string {
	if !v.Known() {
		return "[no value]"
	}
	return "[secret]"
}

// MarshalText encodes that there is a value.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

func (v Value) valid() bool {
	return (v.text == "" || len(v.text) >= MinValue) && len(v.text) <= MaxValue && httpguts.ValidHeaderFieldValue(v.text) && strings.TrimSpace(v.text) == v.text
}
