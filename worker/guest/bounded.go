package guest

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/skerry-dev/skerry/internal/link"
)

// bounded is a link for our own calls. Connect reads an answer that is too long to its end before it refuses it, and one of a hostile container
// has none: here it breaks off.
type bounded struct{ link *link.Client }

// RoundTrip sends a request.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.link.RoundTrip(r)
	if err == nil && !strings.HasPrefix(res.Header.Get("Content-Type"), "application/connect+") {
		res.Body = &boundedBody{ReadCloser: res.Body, left: 2 * maxMessage}
	}
	return res, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the container answers more than %d bytes", maxMessage)
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	return n, err
}
