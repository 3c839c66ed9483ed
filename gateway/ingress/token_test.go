package ingress_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/skerry-dev/skerry/gateway/ingress"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

// tell has a port answer with what it got to know.
func (r *rig) tell(port uint16) {
	r.serve(port, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/ws" {
			sendBack.ServeHTTP(w, req)
			return
		}
		fmt.Fprintf(w, "%s %s metadata=%q auth=%q cookie=%q", req.Method, req.RequestURI, req.Header.Values(ingress.MetadataHeader),
			req.Header.Get("Authorization"), req.Header.Get("Cookie"))
		for name := range req.Header {
			if strings.Contains(name, "_") {
				fmt.Fprintf(w, " underscored=%s", name)
			}
		}
	})
}

func (r *rig) token(a tunnel.Access) tunnel.Credentials {
	r.t.Helper()
	a.SandboxID = r.sandbox.ID
	c, err := r.tunnels.CreateToken(r.t.Context(), a)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// ask makes a request without following where it is sent on to.
func ask(t *testing.T, method, url string, headers ...string) (got answer, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header[headers[i]] = append(req.Header[headers[i]], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Status, res.Header}, string(text)
}

// answer is a response that was read.
type answer struct {
	StatusCode int
	Status     string
	Header     http.Header
}

func TestTokenLetsIn(t *testing.T) {
	r := start(t, options{})
	r.tell(8080)
	c := r.token(tunnel.Access{Port: 8080, Metadata: `{"user":"é"}`})
	if !strings.HasPrefix(c.URL, "http://127.") || strings.HasPrefix(c.URL, "http://127.0.0.1:") {
		t.Errorf("URL = %q; want an address of the sandbox's own", c.URL)
	}
	const known = `metadata=["{\"user\":\"é\"}"]`
	for name, c := range map[string]struct {
		headers []string
		query   string
		method  string
		status  int
		says    string
	}{
		"nothing":                   {status: 401, says: "token"},
		"wrong":                     {headers: []string{"Authorization", "Bearer skc_" + strings.Repeat("x", 43)}, status: 401},
		"bearer":                    {headers: []string{"Authorization", "Bearer " + c.Token}, status: 200, says: known + ` auth=""`},
		"cookie among others":       {headers: []string{"Cookie", "a=1; _skerry_token=" + c.Token + "; b=2"}, status: 200, says: `cookie="a=1; b=2"`},
		"bearer of the app's":       {headers: []string{"Authorization", "Bearer mine", "Cookie", "_skerry_token=" + c.Token}, status: 200, says: `auth="Bearer mine"`},
		"query of a form":           {method: "POST", query: "?x=1;y&_skerry_token=" + c.Token + "&z", status: 200, says: "POST /?x=1;y&z " + known},
		"query of a program":        {query: "?_skerry_token=" + c.Token, status: 200, says: "GET / " + known},
		"metadata from outside":     {headers: []string{"Authorization", "Bearer " + c.Token, ingress.MetadataHeader, "forged"}, status: 200, says: known},
		"metadata with underscores": {headers: []string{"Authorization", "Bearer " + c.Token, "X_Skerry_User_Metadata", "forged"}, status: 200, says: `cookie=""`},
	} {
		t.Run(name, func(t *testing.T) {
			method := c.method
			if method == "" {
				method = http.MethodGet
			}
			res, body := ask(t, method, r.token0URL()+"/"+c.query, c.headers...)
			if res.StatusCode != c.status || !strings.Contains(body, c.says) || strings.Contains(body, "forged") || strings.Contains(body, "underscored") {
				t.Errorf("%s %s, want %d and %s", res.Status, body, c.status, c.says)
			}
		})
	}
	echoed(t, strings.Replace(c.URL, "http", "ws", 1)+"/ws?_skerry_token="+c.Token, nil)
	echoed(t, strings.Replace(c.URL, "http", "ws", 1)+"/ws", func(cfg *websocket.Config) { cfg.Header.Set("Authorization", "Bearer "+c.Token) })
}

// token0URL is where the tokens of port 8080 are shown.
func (r *rig) token0URL() string { return r.token(tunnel.Access{Port: 8080}).URL }

func TestLinkBecomesACookie(t *testing.T) {
	r := start(t, options{})
	r.tell(8080)
	c := r.token(tunnel.Access{Port: 8080, TTL: time.Hour})
	res, _ := ask(t, http.MethodGet, c.URL+"//evil.example/a?b=1&_skerry_token="+c.Token+"&c=%2F", "Accept", "text/html,*/*")
	if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || to != "/.//evil.example/a?b=1&c=%2F" {
		t.Errorf("%s to %q", res.Status, to)
	}
	if set := res.Header.Get("Set-Cookie"); !strings.Contains(set, "HttpOnly") || !strings.Contains(set, "SameSite=Lax") || !strings.Contains(set, "Expires=") {
		t.Errorf("cookie %q", set)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	for _, link := range []string{c.URL + "/?_skerry_token=" + c.Token, c.URL + "/next"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Sec-Fetch-Mode", "navigate")
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK || strings.Contains(res.Request.URL.String()+string(body), c.Token) {
			t.Errorf("%s at %s: %s", res.Status, res.Request.URL, body)
		}
	}
}

func TestTokenIsForOnePortOfOneSandbox(t *testing.T) {
	r := start(t, options{})
	r.tell(8080)
	r.tell(8081)
	other := tunnel.Sandbox{ID: ident.New(ident.Sandbox), State: tunnel.Running}
	r.tunnels.Update(other)
	c := r.token(tunnel.Access{Port: 8080})
	elsewhere := r.token(tunnel.Access{Port: 8081})
	foreign, err := r.tunnels.CreateToken(t.Context(), tunnel.Access{SandboxID: other.ID, Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{elsewhere.URL, foreign.URL} {
		if res, _ := ask(t, http.MethodGet, url, "Authorization", "Bearer "+c.Token); res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", url, res.Status)
		}
	}
	a, _ := url.Parse(c.URL)
	b, _ := url.Parse(foreign.URL)
	if a.Hostname() == b.Hostname() {
		t.Errorf("both sandboxes have the address %s, and so one another's cookies", a.Hostname())
	}
}

func TestTokensEnd(t *testing.T) {
	now := time.Now()
	r := start(t, options{now: func() time.Time { return now }})
	r.tell(8080)
	short, long := r.token(tunnel.Access{Port: 8080, TTL: time.Minute}), r.token(tunnel.Access{Port: 8080})
	if !short.ExpiresAt.Equal(now.Add(time.Minute)) || !long.ExpiresAt.IsZero() {
		t.Errorf("expire at %v and %v", short.ExpiresAt, long.ExpiresAt)
	}
	status := func(c tunnel.Credentials) int {
		res, _ := ask(t, http.MethodGet, c.URL, "Authorization", "Bearer "+c.Token)
		return res.StatusCode
	}
	if a, b := status(short), status(long); a != 200 || b != 200 {
		t.Errorf("both valid: %d, %d", a, b)
	}
	now = now.Add(time.Minute)
	if a, b := status(short), status(long); a != 401 || b != 200 {
		t.Errorf("one expired: %d, %d", a, b)
	}
	ws, err := websocket.Dial(strings.Replace(long.URL, "http", "ws", 1)+"/ws?_skerry_token="+long.Token, "", "http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := r.tunnels.Revoke(t.Context(), r.sandbox.ID, 0); err != nil {
		t.Fatal(err)
	}
	if a := status(long); a != 401 {
		t.Errorf("revoked: %d", a)
	}
	if n, err := ws.Read(make([]byte, 1)); err == nil {
		t.Errorf("the WebSocket of a revoked token goes on: %d bytes", n)
	}
	if _, grants, _ := r.store.Tunnels(t.Context()); len(grants) > 0 {
		t.Errorf("still stored: %v", grants)
	}
}

func TestTokensAreBounded(t *testing.T) {
	now := time.Now()
	r := start(t, options{now: func() time.Time { return now }})
	for range tunnel.MaxTokens {
		r.token(tunnel.Access{Port: 8080, TTL: time.Minute})
	}
	if _, err := r.tunnels.CreateToken(t.Context(), tunnel.Access{SandboxID: r.sandbox.ID, Port: 8080}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("one more: %v", err)
	}
	now = now.Add(time.Minute)
	r.token(tunnel.Access{Port: 8080})
	if _, grants, _ := r.store.Tunnels(t.Context()); len(grants) != 1 {
		t.Errorf("%d grants are stored after the others have expired", len(grants))
	}
	for name, a := range map[string]tunnel.Access{
		"no port": {}, "long": {Port: 1, TTL: tunnel.MaxTTL + 1}, "newline": {Port: 1, Metadata: "a\nb"}, "large": {Port: 1, Metadata: strings.Repeat("x", tunnel.MaxMetadata+1)},
	} {
		a.SandboxID = r.sandbox.ID
		if _, err := r.tunnels.CreateToken(t.Context(), a); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
