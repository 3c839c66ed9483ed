package egress

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/worker/network/policy"
)

const (
	secretValue = "sk-live-0123456789+/=x"
	placeholder = "SKERRY-PLACEHOLDER-1"
)

func withSecrets(secrets ...policy.Secret) policy.Policy { return policy.Policy{Secrets: secrets} }

func headerSecret(host string) policy.Secret {
	return policy.Secret{Hosts: []string{host}, Header: "Authorization", Value: policy.NewValue("Bearer " + secretValue)}
}

func placeholderSecret(query, inBody bool) policy.Secret {
	return policy.Secret{Hosts: []string{"api.test"}, Placeholder: placeholder, Query: query, Body: inBody, Value: policy.NewValue(secretValue)}
}

// echo answers with what it got in the body, and nothing of it in the header.
func echo(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_, _ = fmt.Fprintf(w, "%s host=%s auth=%q x=%q query=%s length=%d body=%s", r.Proto, r.Host, r.Header["Authorization"], r.Header["X-Key"],
			r.URL.RawQuery, r.ContentLength, content)
	})
}

// both runs a test with a client that speaks HTTP/1.1 and one that speaks HTTP/2.
func both(t *testing.T, w *world, test func(t *testing.T, c *http.Client)) {
	t.Helper()
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) { test(t, client(t, w.trusting(), h2)) })
	}
}

func TestHeaderIsSet(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, echo(t), "api.test", "other.test")
	w.set(withSecrets(headerSecret("api.test")))
	both(t, w, func(t *testing.T, c *http.Client) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.test/path", strings.NewReader("content"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer mine")
		resp, err := c.Do(r)
		if got := body(t, resp, err); !strings.Contains(got, `auth=["Bearer `+secretValue+`"] `) || !strings.Contains(got, "length=7 body=content") {
			t.Errorf("got %s", got)
		}
		if resp.TLS.PeerCertificates[0].Subject.Organization[0] != "Skerry" {
			t.Error("the connection was not opened")
		}
		// Another host is passed on unopened: its own certificate is not one that this client trusts.
		if got := page(c.Get("https://other.test")); !strings.Contains(got, "unknown authority") {
			t.Errorf("another host: %s", got)
		}
	})
	if got := page(client(t, w.hosts.pool(), true).Get("https://other.test")); !strings.Contains(got, `auth=[]`) {
		t.Errorf("another host: %s", got)
	}
}

// page is an answer's body, or why there is none.
func page(resp *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestPlaceholders(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, echo(t), "api.test")
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("git:"+password))
	}
	long := strings.Repeat("y", bufferedBody)
	both(t, w, func(t *testing.T, c *http.Client) {
		for name, k := range map[string]struct {
			secret                            policy.Secret
			auth, x, query, kind, coding, say string
			want                              string
		}{
			"headers":        {secret: placeholderSecret(false, false), auth: "Bearer " + placeholder, x: placeholder + "," + placeholder, query: "k=" + placeholder, say: placeholder, want: `auth=["Bearer ` + secretValue + `"] x=["` + secretValue + "," + secretValue + `"] query=k=` + placeholder + ` length=20 body=` + placeholder},
			"basic":          {secret: placeholderSecret(false, false), auth: basic(placeholder), want: `auth=["` + basic(secretValue) + `"]`},
			"basic, another": {secret: placeholderSecret(false, false), auth: basic("own"), want: `auth=["` + basic("own") + `"]`},
			"query":          {secret: placeholderSecret(true, false), query: "a=1&k=" + placeholder + "&b", want: "query=a=1&k=sk-live-0123456789%2B%2F%3Dx&b length"},
			"text":           {secret: placeholderSecret(false, true), kind: "text/plain", say: "a " + placeholder + " b", want: "length=26 body=a " + secretValue + " b"},
			"json":           {secret: placeholderSecret(false, true), kind: "application/json", say: `{"k":"` + placeholder + `"}`, want: `body={"k":"` + secretValue + `"}`},
			"form":           {secret: placeholderSecret(false, true), kind: "application/x-www-form-urlencoded", say: "k=" + placeholder, want: "body=k=sk-live-0123456789%2B%2F%3Dx"},
			"compressed":     {secret: placeholderSecret(false, true), coding: "gzip", say: placeholder, want: "body=" + placeholder},
			"long":           {secret: placeholderSecret(false, true), say: long + placeholder + long + placeholder, want: "length=-1 body=" + long + secretValue + long + secretValue},
			"empty":          {secret: placeholderSecret(false, true), want: "length=0 body="},
		} {
			w.set(withSecrets(k.secret))
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.test/?"+k.query, strings.NewReader(k.say))
			if err != nil {
				t.Fatal(err)
			}
			for header, value := range map[string]string{"Authorization": k.auth, "X-Key": k.x, "Content-Type": k.kind, "Content-Encoding": k.coding} {
				if value != "" {
					r.Header.Set(header, value)
				}
			}
			resp, err := c.Do(r)
			if got := body(t, resp, err); !strings.Contains(got, k.want) {
				t.Errorf("%s: got %.500s, want %.500s", name, got, k.want)
			}
		}
	})
}

// TestBombs: placeholders that would grow without bound are refused.
func TestBombs(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, echo(t), "api.test")
	large := placeholderSecret(true, true)
	large.Placeholder, large.Value = "12345678", policy.NewValue(strings.Repeat("v", policy.MaxValue))
	w.set(withSecrets(large))
	many := strings.Repeat(large.Placeholder, 2000)
	both(t, w, func(t *testing.T, c *http.Client) {
		for name, change := range map[string]func(*http.Request){
			"one header":   func(r *http.Request) { r.Header.Set("X-Key", many) },
			"many headers": func(r *http.Request) { r.Header["X-Key"] = strings.SplitAfter(many[:8*200], large.Placeholder)[:200] },
			"query":        func(r *http.Request) { r.URL.RawQuery = many },
			"body": func(r *http.Request) {
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(many)), int64(len(many))
			},
		} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.test/", nil)
			if err != nil {
				t.Fatal(err)
			}
			change(r)
			resp, err := c.Do(r)
			if got := body(t, resp, err); resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s: got %d, %.100s", name, resp.StatusCode, got)
			}
		}
	})
}

// TestFronting: a connection that was opened for one host takes requests for no other, though it has a secret as well.
func TestFronting(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, echo(t), "api.test", "other.test", "evil.test")
	w.set(withSecrets(headerSecret("api.test"), headerSecret("other.test")))
	both(t, w, func(t *testing.T, c *http.Client) {
		for _, host := range []string{"other.test", "evil.test", "api.test:8443", "127.0.0.30"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.test/", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			resp, err := c.Do(r)
			if got := body(t, resp, err); resp.StatusCode != http.StatusMisdirectedRequest && resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %d %s", host, resp.StatusCode, got)
			}
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodTrace, "https://api.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(r)
		if got := body(t, resp, err); resp.StatusCode != http.StatusForbidden {
			t.Errorf("TRACE: %s", got)
		}
	})
}

// TestUpstreamIsVerified: whoever answers at the host's address has to be the host.
func TestUpstreamIsVerified(t *testing.T) {
	w := newWorld(t)
	asked := false
	w.serveHTTPS(hostAddr, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }), "evil.test")
	w.set(withSecrets(headerSecret("api.test")))
	resp, err := client(t, w.trusting(), false).Get("https://api.test")
	if got := body(t, resp, err); resp.StatusCode != http.StatusBadGateway || asked {
		t.Errorf("got %d, %s; asked %t", resp.StatusCode, got, asked)
	}
}

// TestMissingValue: after a restart of the worker the values are not there; the header's absence must not be noticed by the host.
func TestMissingValue(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, echo(t), "api.test")
	s := headerSecret("api.test")
	s.Value = policy.Value{}
	w.set(withSecrets(s))
	c := client(t, w.trusting(), true)
	resp, err := c.Get("https://api.test")
	if got := body(t, resp, err); resp.StatusCode != http.StatusBadGateway || !strings.Contains(got, "not arrived") {
		t.Errorf("got %d, %s", resp.StatusCode, got)
	}
	w.set(withSecrets(headerSecret("api.test")))
	resp, err = c.Get("https://api.test") // over the same connection
	if got := body(t, resp, err); !strings.Contains(got, secretValue) {
		t.Errorf("got %s", got)
	}
	w.set(policy.Policy{})
	resp, err = c.Get("https://api.test")
	if got := body(t, resp, err); !strings.Contains(got, "auth=[]") {
		t.Errorf("after the secret was taken back: %s", got)
	}
}

// TestSecretOpensNothing: the lists say where to, secrets only what is added.
func TestSecretOpensNothing(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, echo(t), "api.test", "other.test")
	p := withSecrets(headerSecret("api.test"))
	p.Domains = []string{"other.test"}
	w.set(p)
	if _, err := handshake(t, w, &tls.Config{ServerName: "api.test", RootCAs: w.trusting()}); err == nil {
		t.Error("a secret opens its host")
	}
	p.Domains = []string{"api.test"}
	w.set(p)
	resp, err := client(t, w.trusting(), true).Get("https://api.test")
	if got := body(t, resp, err); !strings.Contains(got, secretValue) {
		t.Errorf("got %s", got)
	}
}

// TestEchoes: a host that repeats the value in a header, an interim answer, a trailer or a broken answer does not bring it to the guest.
func TestEchoes(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		rw.Header().Set("Link", auth)
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Set("Trailer", "X-End")
		rw.Header().Set("X-Echo", "got "+auth)
		rw.Header().Set("X-Token", strings.TrimPrefix(auth, "Bearer "))
		rw.Header().Set("Location", "https://elsewhere.test/?t=sk-live-0123456789%2B%2F%3Dx")
		rw.Header().Set("Alt-Svc", `h3=":443"`)
		_, _ = io.WriteString(rw, "text")
		rw.Header().Set("X-End", auth)
		rw.Header().Set(http.TrailerPrefix+"X-Late", auth)
	}), "api.test")
	w.set(withSecrets(headerSecret("api.test")))
	both(t, w, func(t *testing.T, c *http.Client) {
		var hints []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(h))
			return nil
		}}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, "https://api.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		resp, err := c.Do(r)
		got := body(t, resp, err)
		all := fmt.Sprint(got, resp.Header, resp.Trailer, hints)
		if strings.Contains(all, "sk-live") || !strings.Contains(all, "[secret]") || resp.Header.Get("Alt-Svc") != "" {
			t.Errorf("got %s", all)
		}
		if len(hints) == 0 || resp.Trailer.Get("X-End") == "" || resp.Trailer.Get("X-Late") == "" {
			t.Errorf("hints %v, trailers %v", hints, resp.Trailer)
		}
	})
}

// TestBrokenAnswer: an answer that can't be read is quoted by the library's error.
func TestBrokenAnswer(t *testing.T) {
	w := newWorld(t)
	l, err := tls.Listen("tcp", hostAddr.String()+":443", &tls.Config{Certificates: []tls.Certificate{w.hosts.of(t, "api.test")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	ended := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			ended <- err
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			_, err = io.WriteString(c, "BROKEN "+r.Header.Get("Authorization")+"\r\n\r\n")
		}
		_ = c.Close()
		ended <- err
	}()
	w.set(withSecrets(headerSecret("api.test")))
	resp, err := client(t, w.trusting(), false).Get("https://api.test")
	if got := body(t, resp, err); resp.StatusCode != http.StatusBadGateway || strings.Contains(got, "sk-live") {
		t.Errorf("got %d, %s", resp.StatusCode, got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestBodyReplacer(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("ab"+placeholder+"S"+placeholder[:7]+placeholder+placeholder+"zSKERRY-", 3000)
	want := strings.ReplaceAll(text, placeholder, "value")
	for _, size := range []int{1, 2, 3, 7, 19, 20, 21, 4096, bodyChunk, len(text)} {
		r := &bodyReplacer{source: io.NopCloser(&chunked{text: text, size: size}), old: []byte(placeholder), fresh: []byte("value")}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("in pieces of %d: differs, %v", size, err)
		}
	}
}

// chunked returns a text in pieces.
type chunked struct {
	text string
	size int
}

func (c *chunked) Read(b []byte) (int, error) {
	n := copy(b[:min(len(b), c.size)], c.text)
	c.text = c.text[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
