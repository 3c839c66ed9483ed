package ingress

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/gateway/route"
)

const (
	// safeCookie is the cookie's name where there is TLS: browsers let no other host set it.
	safeCookie = "__Host-" + route.TokenParameter
	bearer     = "Bearer "
)

// shown are the tokens that a request shows.
type shown struct {
	query string
	rest  []string
}

func (s shown) all() []string {
	if s.query != "" {
		return append([]string{s.query}, s.rest...)
	}
	return s.rest
}

func shownBy(r *http.Request) shown {
	var s shown
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if value, ok := strings.CutPrefix(part, route.TokenParameter+"="); ok {
			if token, err := url.QueryUnescape(value); err == nil {
				s.query = token
			}
		}
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), bearer); ok {
		s.rest = append(s.rest, token)
	}
	for _, c := range r.Cookies() {
		if isTokenCookie(c.Name) && len(s.rest) < 8 {
			s.rest = append(s.rest, c.Value)
		}
	}
	return s
}

func isTokenCookie(name string) bool { return name == route.TokenParameter || name == safeCookie }

// withoutToken removes the token's parameter from a query and leaves all else as it is.
func withoutToken(query string) string {
	if !strings.Contains(query, route.TokenParameter) {
		return query
	}
	parts := strings.Split(query, "&")
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool {
		return part == route.TokenParameter || strings.HasPrefix(part, route.TokenParameter+"=")
	}), "&")
}

// hideTokens takes what opened the route out of a request: servers in sandboxes need no tokens of their own ports.
func hideTokens(h http.Header, opened string) {
	if opened != "" && h.Get("Authorization") == bearer+opened {
		h.Del("Authorization")
	}
	lines, ok := h["Cookie"]
	if !ok {
		return
	}
	var kept []string
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(strings.TrimSpace(part), "=")
			if part = strings.TrimSpace(part); part != "" && !isTokenCookie(name) {
				kept = append(kept, part)
			}
		}
	}
	if h.Del("Cookie"); len(kept) > 0 {
		h.Set("Cookie", strings.Join(kept, "; "))
	}
}

// remembers says whether a request is one of somebody who follows a link in a browser, and so can be sent on with a cookie. Programs may keep
// none: their requests are passed on.
func remembers(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Upgrade") == "" &&
		(r.Header.Get("Sec-Fetch-Mode") == "navigate" || strings.Contains(r.Header.Get("Accept"), "text/html"))
}

// remember puts the token of a link into a cookie and sends its bearer on without it, so that it stays out of histories and referrers.
func remember(w http.ResponseWriter, r *http.Request, who visitor, visit *route.Visit) {
	c := &http.Cookie{Name: route.TokenParameter, Value: visit.Token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Expires: visit.TokenExpires}
	if who.proto == "https" {
		c.Name, c.Secure = safeCookie, true
		if dest := r.Header.Get("Sec-Fetch-Dest"); dest == "iframe" || dest == "frame" {
			// Within another site's page the cookie is kept for that page alone.
			c.SameSite, c.Partitioned = http.SameSiteNoneMode, true
		}
	}
	http.SetCookie(w, c)
	to := r.URL.EscapedPath()
	if strings.HasPrefix(to, "//") {
		to = "/." + to // two slashes alone would name another host
	}
	if query := withoutToken(r.URL.RawQuery); query != "" {
		to += "?" + query
	}
	h := w.Header()
	h.Set("Location", to)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}
