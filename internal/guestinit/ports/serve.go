package ports

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/portstream"
)

const (
	// Path is where a port's number follows.
	Path = "/ports/"
	// ReasonHeader says why a port is not reached.
	ReasonHeader = "X-Skerry-Reason"
	// MaxConnections is how many connections are open at a time; each takes about 20 KiB of the container's memory while it is silent.
	MaxConnections = 4096

	idleBuffer = 1 << 10
	busyBuffer = 64 << 10
)

var buffers = sync.Pool{New: func() any { b := make([]byte, busyBuffer); return &b }}

// Handler serves POST /ports/<port>: bytes of the request go to the port, what it sends is the answer. The end of the request is the end of
// what is sent to the port. In an answer of frames, as package portstream says, the port's end is one, and what is sent to the port after that
// reaches it until it takes no more; in another the port's end is that of the answer, and what is sent to it after that is lost.
//
// The answer is 200 once the port has taken the connection, else 502, or 503 when there are too many, with the cause in ReasonHeader.
type Handler struct{ open atomic.Int64 }

var _ http.Handler = (*Handler)(nil)

// ServeHTTP serves one connection.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	port, err := strconv.ParseUint(r.URL.Path[len(Path):], 10, 16)
	if err != nil || port == 0 || r.Method != http.MethodPost {
		http.Error(w, "want POST "+Path+"<port>", http.StatusNotFound)
		return
	}
	defer h.open.Add(-1)
	if h.open.Add(1) > MaxConnections {
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d connections to ports of the sandbox are open already", MaxConnections))
		return
	}
	conn, err := Dial(r.Context(), uint16(port))
	if err != nil {
		refuse(w, http.StatusBadGateway, reason(err, port))
		return
	}
	defer conn.Close() //nolint:errcheck // both directions have ended
	w.Header().Set("Content-Type", "application/octet-stream")
	framed := r.Header.Get(portstream.Header) == portstream.Version
	if framed {
		w.Header().Set(portstream.Header, portstream.Version)
	}
	control := http.NewResponseController(w)
	if control.Flush() != nil {
		return // the client has gone
	}
	join(r, answer{w, control, framed}, conn)
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set(ReasonHeader, why)
	w.WriteHeader(status)
}

func reason(err error, port uint64) string {
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at port %d", port)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("port %d does not answer", port)
	default:
		return fmt.Sprintf("port %d can't be reached", port)
	}
}

// answer is where what a port sends goes.
type answer struct {
	w       io.Writer
	control *http.ResponseController
	framed  bool
}

// room is what has to be before the bytes that send is given.
func (a answer) room() int {
	if a.framed {
		return portstream.HeadBytes
	}
	return 0
}

// send sends what is in b after its room; nothing is the port's end, where that can be told.
func (a answer) send(b []byte) error {
	if a.framed {
		portstream.PutHead(b, len(b)-a.room())
	}
	if _, err := a.w.Write(b); err != nil {
		return err
	}
	return a.control.Flush()
}

// join copies both ways until both have ended, or the port where its end can't be told else, or the client has gone.
func join(r *http.Request, a answer, conn *net.TCPConn) {
	stop := context.AfterFunc(r.Context(), func() { _ = conn.Close() }) // ends both copies
	defer stop()
	in := make(chan struct{})
	go func() {
		defer close(in)
		if copyIn(conn, r.Body) != nil {
			_ = conn.SetLinger(0) // what the client has sent is not whole: a reset says so
			_ = conn.Close()
			return
		}
		_ = conn.CloseWrite() // the port's end is told by reading from it
	}()
	if copyOut(a, conn) && a.framed {
		if a.send(make([]byte, a.room())) == nil {
			<-in // which ends with the client, or when the port takes no more
		}
	}
	_ = conn.Close() // ends the other copy where the client is still to write
	_ = r.Body.Close()
	<-in
}

// copyIn copies what a client sends. While little comes it holds a small buffer.
func copyIn(to io.Writer, from io.Reader) error {
	small := make([]byte, idleBuffer)
	for {
		n, err := from.Read(small)
		if _, werr := to.Write(small[:n]); werr != nil {
			return werr
		}
		if err == nil && n == len(small) {
			err = copyMuch(to, from)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// copyMuch copies while much comes.
func copyMuch(to io.Writer, from io.Reader) error {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for {
		n, err := from.Read(*b)
		if _, werr := to.Write((*b)[:n]); werr != nil {
			return werr
		}
		if err != nil || n < idleBuffer {
			return err
		}
	}
}

// copyOut copies what the port sends, and says whether it has ended. It holds a buffer only while there is something to read.
func copyOut(a answer, conn *net.TCPConn) (ended bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	room := a.room()
	for {
		var b *[]byte
		n, failed := 0, error(nil)
		err := raw.Read(func(fd uintptr) bool {
			b = buffers.Get().(*[]byte)
			for {
				n, failed = unix.Read(int(fd), (*b)[room:]) //nolint:gosec // file descriptors are small
				if !errors.Is(failed, unix.EINTR) {
					break
				}
			}
			if errors.Is(failed, unix.EAGAIN) {
				buffers.Put(b)
				b = nil
				return false
			}
			return true
		})
		if b == nil {
			return false // the connection was closed
		}
		ended = err == nil && failed == nil && n == 0
		if err == nil && failed == nil && n > 0 {
			err = a.send((*b)[:room+n])
		}
		buffers.Put(b)
		if err != nil || failed != nil || n <= 0 {
			return ended
		}
	}
}
