package guest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/internal/portstream"
)

// services are what clients may reach of init. The others are its worker's.
var services = []string{"/skerry.v1.ProcessService/", "/skerry.v1.FilesystemService/", "/skerry.v1.InterpreterService/"}

// Forward returns what carries requests of clients to the services inside the container; their URLs' paths begin with the service. It lets only
// these services through and only what Connect needs of headers, for credentials are not the container's to see. A container may answer
// anything: what comes back is bytes of one of Connect's types, or plain text, with no header that a browser would act upon. Errors:
// fault.NotFound for another path, fault.Unavailable.
func (c *Client) Forward() http.RoundTripper { return forward{c.link} }

type forward struct{ link *link.Client }

// RoundTrip sends a request.
func (f forward) RoundTrip(r *http.Request) (*http.Response, error) {
	if port, ok := strings.CutPrefix(r.URL.Path, portPath); ok && r.Method == http.MethodPost && validPort(port) {
		return f.port(r)
	}
	if !reachable(r.URL.Path) || r.Method != http.MethodPost {
		if r.Body != nil {
			_ = r.Body.Close() // it is not sent
		}
		return nil, fault.New(fault.NotFound, "%s %q: containers have no such service", r.Method, r.URL.Path)
	}
	out := r.Clone(r.Context())
	out.URL = &url.URL{Scheme: "http", Host: "link", Path: r.URL.Path}
	out.Host, out.RequestURI = "", ""
	out.Header = pick(r.Header, requestHeaders)
	out.Trailer = nil
	res, err := f.link.RoundTrip(out)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err)
	}
	return clean(r, res)
}

const (
	// portPath begins the paths of connections to ports, whose bodies are what goes over them.
	portPath = "/ports/"
	// reasonHeader says in an answer that is not 200 why a port is not reached.
	reasonHeader = "X-Skerry-Reason"
	maxReason    = 200
)

func validPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0 && text[0] != '0'
}

// port carries a connection to a port. Of the answer it is taken whether there is a connection, or why not, and its bytes.
func (f forward) port(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.URL = &url.URL{Scheme: "http", Host: "link", Path: r.URL.Path}
	framed := r.Header.Get(portstream.Header) == portstream.Version
	out.Host, out.RequestURI, out.Header, out.Trailer = "", "", http.Header{}, nil
	if framed {
		out.Header.Set(portstream.Header, portstream.Version)
	}
	res, err := f.link.RoundTrip(out)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err)
	}
	header := http.Header{"Content-Type": {"application/octet-stream"}, "X-Content-Type-Options": {"nosniff"}}
	if framed && res.Header.Get(portstream.Header) == portstream.Version {
		header.Set(portstream.Header, portstream.Version)
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close() // the header says why
		reason := strings.Map(printable, res.Header.Get(reasonHeader))
		header.Set(reasonHeader, reason[:min(len(reason), maxReason)])
		res.StatusCode, res.Body = http.StatusBadGateway, http.NoBody
	}
	return &http.Response{StatusCode: res.StatusCode, Header: header, Body: res.Body, ContentLength: -1, Request: r}, nil
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

func reachable(path string) bool {
	for _, s := range services {
		if method, ok := strings.CutPrefix(path, s); ok && method != "" && !strings.Contains(method, "/") {
			return true
		}
	}
	return false
}

var (
	requestHeaders  = []string{"Content-Type", "Content-Encoding", "Accept", "Accept-Encoding", "Connect-", "X-User-Agent", "X-Grpc-Web", "Grpc-"}
	responseHeaders = []string{"Content-Type", "Content-Encoding", "Accept-Encoding", "Accept-Post", "Allow", "Connect-", "Trailer-", "Grpc-"}
	contentTypes    = []string{
		"application/proto", "application/json", "application/connect+proto", "application/connect+json",
		"application/grpc-web+proto", "application/grpc-web+json", "text/plain",
	}
)

// pick returns the headers that are named, or begin with what ends in a dash.
func pick(all http.Header, names []string) http.Header {
	picked := make(http.Header, len(all))
	for k, v := range all {
		for _, name := range names {
			if strings.EqualFold(k, name) || strings.HasSuffix(name, "-") && len(k) > len(name) && strings.EqualFold(k[:len(name)], name) {
				picked[k] = v
				break
			}
		}
	}
	return picked
}

// clean makes an answer that may be passed on. It has no trailers: Connect has its own in the body.
func clean(r *http.Request, res *http.Response) (*http.Response, error) {
	kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	ok := kind == "" && res.ContentLength == 0
	for _, t := range contentTypes {
		ok = ok || kind == t
	}
	if !ok || res.StatusCode < http.StatusOK || res.StatusCode >= http.StatusMultipleChoices && res.StatusCode < http.StatusBadRequest {
		_ = res.Body.Close() // it is not read
		return nil, fault.New(fault.Unavailable, "the container's init answered %d with %.40q, which is none of its protocol", res.StatusCode, kind)
	}
	header := pick(res.Header, responseHeaders)
	header.Set("X-Content-Type-Options", "nosniff")
	return &http.Response{
		Status: http.StatusText(res.StatusCode), StatusCode: res.StatusCode, Proto: res.Proto, ProtoMajor: res.ProtoMajor, ProtoMinor: res.ProtoMinor,
		Header: header, Body: res.Body, ContentLength: res.ContentLength, Request: r,
	}, nil
}
