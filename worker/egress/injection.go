package egress

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// Limits of what placeholders may grow to, in bytes: a guest could write one down very often.
const (
	maxGrownHeader = 256 << 10
	// bufferedBody is how long a body with a known length may be to be sent with one; longer ones are sent in chunks.
	bufferedBody = 1 << 20
	maxGrownBody = 8 << 20
)

// injection is what secrets do to one request and its answer. Without secrets it does nothing.
type injection struct {
	secrets []policy.Secret
	sent    []string // spellings of values that an answer may repeat
}

// newInjection checks that all values are there. Errors: fault.Unavailable.
func newInjection(secrets []policy.Secret) (*injection, error) {
	in := &injection{secrets: secrets}
	for _, s := range secrets {
		if !s.Value.Known() {
			return nil, fault.New(fault.Unavailable, "the value of a secret for this host has not arrived yet")
		}
		in.hear(s.Value.Reveal())
		if _, token, ok := strings.Cut(s.Value.Reveal(), " "); ok && len(token) >= policy.MinPlaceholder { // as in "Bearer ..."
			in.hear(token)
		}
	}
	return in, nil
}

// hear notes a spelling of a value.
func (in *injection) hear(text string) {
	in.sent = append(in.sent, text)
	for _, other := range []string{url.QueryEscape(text), url.PathEscape(text)} {
		if other != text {
			in.sent = append(in.sent, other)
		}
	}
}

// prepare replaces placeholders in a request, all but those of a body that is longer than what is kept. Errors: fault.Exhausted beyond the
// limits, fault.Invalid if the body breaks off.
func (in *injection) prepare(r *http.Request) error {
	if len(in.secrets) == 0 {
		return nil
	}
	room := maxGrownHeader
	for name, values := range r.Header {
		for i, v := range values {
			fresh, err := in.header(name, v, room)
			if err != nil {
				return err
			}
			values[i] = fresh
			room -= len(fresh)
		}
	}
	for _, s := range in.secrets {
		if !s.Query {
			continue
		}
		fresh, err := replace(r.URL.RawQuery, s.Placeholder, url.QueryEscape(s.Value.Reveal()), room)
		if err != nil {
			return err
		}
		r.URL.RawQuery = fresh
	}
	return in.prepareBody(r)
}

// header replaces placeholders in a value of a header.
func (in *injection) header(name, value string, room int) (string, error) {
	scheme, encoded, ok := strings.Cut(value, " ")
	if name != "Authorization" || !ok || !strings.EqualFold(scheme, "basic") {
		return in.text(value, room)
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return in.text(value, room)
	}
	fresh, err := in.text(string(plain), room)
	if err != nil || fresh == string(plain) {
		return value, err
	}
	encoded = base64.StdEncoding.EncodeToString([]byte(fresh))
	in.hear(encoded)
	return scheme + " " + encoded, nil
}

// text replaces the placeholders of all secrets.
func (in *injection) text(text string, room int) (string, error) {
	for _, s := range in.secrets {
		if s.Placeholder == "" {
			continue
		}
		fresh, err := replace(text, s.Placeholder, s.Value.Reveal(), room)
		if err != nil {
			return "", err
		}
		text = fresh
	}
	return text, nil
}

// replace replaces a text unless the result would be longer than room. Errors: fault.Exhausted.
func replace(text, old, fresh string, room int) (string, error) {
	n := strings.Count(text, old)
	if n > 0 && len(text)+n*(len(fresh)-len(old)) > room {
		return "", fault.New(fault.Exhausted, "the header is longer than %d bytes with its placeholders replaced", maxGrownHeader)
	}
	return strings.ReplaceAll(text, old, fresh), nil
}

// prepareBody replaces placeholders in the body. Where it is short its new length is sent; longer ones and those of unknown length are
// replaced as they pass and sent in chunks.
func (in *injection) prepareBody(r *http.Request) error {
	pairs := in.bodyPairs(r)
	if len(pairs) == 0 || r.Body == nil || r.ContentLength == 0 {
		return nil
	}
	for _, p := range pairs {
		r.Body = &bodyReplacer{source: r.Body, old: []byte(p.old), fresh: []byte(p.fresh)}
	}
	if r.ContentLength < 0 || r.ContentLength > bufferedBody {
		r.ContentLength = -1
		r.Header.Del("Content-Length")
		return nil
	}
	whole, err := io.ReadAll(io.LimitReader(r.Body, maxGrownBody+1))
	switch {
	case err != nil:
		return fault.New(fault.Invalid, "the body broke off")
	case len(whole) > maxGrownBody:
		return fault.New(fault.Exhausted, "the body is longer than %d bytes with its placeholders replaced", maxGrownBody)
	}
	r.Body = &readBody{Reader: strings.NewReader(string(whole)), Closer: r.Body}
	r.ContentLength = int64(len(whole))
	r.Header.Del("Content-Length") // it follows from the field
	return nil
}

// readBody is a body that has been read, and closes the one that it came from.
type readBody struct {
	io.Reader
	io.Closer
}

type pair struct{ old, fresh string }

// bodyPairs are what to replace in a body, by what, in the spelling of its type. A body that is compressed is not looked at.
func (in *injection) bodyPairs(r *http.Request) []pair {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = "" // as it is
	}
	var pairs []pair
	for _, s := range in.secrets {
		if !s.Body {
			continue
		}
		value := s.Value.Reveal()
		switch {
		case kind == "application/x-www-form-urlencoded":
			value = url.QueryEscape(value)
		case kind == "application/json" || strings.HasSuffix(kind, "+json"):
			quoted, err := json.Marshal(value)
			if err == nil { // a string always can be
				value = string(quoted[1 : len(quoted)-1])
			}
		}
		pairs = append(pairs, pair{s.Placeholder, value})
	}
	return pairs
}

// apply sets headers in the request that goes out, whatever the client has put there.
func (in *injection) apply(out *http.Request) {
	for _, s := range in.secrets {
		if s.Header != "" {
			out.Header[s.Header] = []string{s.Value.Reveal()}
		}
	}
}

// scrub takes values out of the headers of an answer.
func (in *injection) scrub(h http.Header) {
	if len(in.sent) == 0 {
		return
	}
	for name, values := range h {
		for i, v := range values {
			if clean := in.clean(v); clean != v {
				values[i] = clean
			}
		}
		if clean := in.clean(name); clean != name {
			delete(h, name)
		}
	}
}

// clean takes values out of a text.
func (in *injection) clean(text string) string {
	for _, s := range in.sent {
		text = strings.ReplaceAll(text, s, "[secret]")
	}
	return text
}

// hide takes values out of an error, which may quote what a server has answered. Its kind stays.
func (in *injection) hide(err error) error {
	text := err.Error()
	clean := in.clean(text)
	if clean == text {
		return err
	}
	if kind := fault.KindOf(err); kind != nil {
		return fault.New(kind, "%s", clean)
	}
	return errors.New(clean)
}
