package link

import (
	"crypto/tls"
	"net/http"
)

// HTTPClient returns an HTTP/2 client with connections of its own for bulk traffic to a gateway, beside a link. Token authenticates it. For
// https URLs it trusts what t says; nil: the system's roots.
func HTTPClient(token string, t *tls.Config) *http.Client {
	if t == nil {
		t = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	transport := &http.Transport{
		Protocols:       new(http.Protocols),
		TLSClientConfig: t.Clone(),
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize: 1 << 20, SendPingTimeout: PingInterval, PingTimeout: PingTimeout,
		},
	}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: bearer{token: token, next: transport}}
}

// bearer authenticates requests.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}
