package ingress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// statusOf is how an error of a route is said in HTTP.
func statusOf(err error) int {
	switch {
	case errors.Is(err, fault.NotFound), errors.Is(err, fault.Precondition):
		return http.StatusNotFound
	case errors.Is(err, fault.Denied):
		return http.StatusForbidden
	case errors.Is(err, fault.Unauthenticated):
		return http.StatusUnauthorized
	case errors.Is(err, fault.Exhausted), errors.Is(err, fault.Unavailable):
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadGateway
	}
}

// answer says why a request is not passed on: to browsers as a page, to programs as JSON.
func answer(w http.ResponseWriter, r *http.Request, status int, err error) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="skerry"`)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	var body string
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'")
		title := fmt.Sprintf("%d %s", status, http.StatusText(status))
		body = "<!doctype html><meta charset=utf-8><title>" + title + "</title><h1>" + title + "</h1><p>" + html.EscapeString(err.Error()) + "</p>\n"
	} else {
		h.Set("Content-Type", "application/json")
		text, jerr := json.Marshal(map[string]any{"status": status, "error": err.Error()})
		body = string(text) + "\n"
		if jerr != nil {
			body = "{}\n" // a text and a number always encode
		}
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, body) // a visitor that has gone needs no answer
	}
}

const (
	// refuseTime is how long a raw connection that is refused is given to say what it speaks, and to read the answer.
	refuseTime = time.Second
	// refuseBytes is how much of it is read meanwhile.
	refuseBytes = 64 << 10
)

// methods of HTTP/1.1 begin a request.
var methods = [][]byte{[]byte("GET "), []byte("POST "), []byte("HEAD "), []byte("PUT "), []byte("DELETE "), []byte("OPTIONS "), []byte("PATCH ")}

// refuseRaw tells a visitor that speaks HTTP/1.1 why its connection leads nowhere, and cuts all others.
func refuseRaw(ctx context.Context, conn *net.TCPConn, err error) {
	stop := context.AfterFunc(ctx, func() { abort(conn) })
	defer stop()
	start := make([]byte, 8)
	if derr := conn.SetDeadline(time.Now().Add(refuseTime)); derr != nil {
		return
	}
	n, rerr := io.ReadAtLeast(conn, start, 4)
	if rerr != nil || !speaksHTTP(start[:n]) {
		abort(conn)
		return
	}
	status := statusOf(err)
	if status == http.StatusNotFound {
		status = http.StatusBadGateway
	}
	text := err.Error() + "\n"
	_, werr := fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), len(text), text)
	if werr != nil || conn.CloseWrite() != nil {
		return
	}
	// What was sent is read first: to close before would take the answer from the visitor.
	_, _ = io.CopyN(io.Discard, conn, refuseBytes) // it ends as it will
}

func speaksHTTP(start []byte) bool {
	for _, m := range methods {
		if n := min(len(m), len(start)); bytes.Equal(start[:n], m[:n]) {
			return true
		}
	}
	return false
}
