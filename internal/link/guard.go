package link

import (
	"errors"
	"net"
	"time"

	"golang.org/x/net/http2"
)

// How many frames a peer that is not trusted may send: at once, and for each second that has passed. HTTP/2's flow control bounds data alone.
const (
	frameBurst, frameRate = 100_000, 50_000
	// Those that carry nothing and that an honest peer hardly needs: pings, settings, priorities, empty data.
	emptyBurst, emptyRate = 2_000, 100
)

// ErrFlood is why a connection ends whose peer sends frames that mean nothing, faster than it may.
var ErrFlood = errors.New("link: the peer floods the connection")

// guard ends a connection whose peer floods it. Its Read is for one goroutine.
type guard struct {
	net.Conn
	head    [9]byte // of the next frame
	have    int     // bytes of head
	skip    int     // bytes of a frame's payload that are still to come
	all     bucket
	empty   bucket
	flooded bool
}

func newGuard(conn net.Conn) *guard {
	now := time.Now()
	return &guard{
		Conn: conn, all: bucket{left: frameBurst, burst: frameBurst, rate: frameRate, at: now},
		empty: bucket{left: emptyBurst, burst: emptyBurst, rate: emptyRate, at: now},
	}
}

// Read reads on, and looks at the frames that begin in what comes.
func (g *guard) Read(p []byte) (int, error) {
	if g.flooded {
		return 0, ErrFlood
	}
	n, err := g.Conn.Read(p)
	for b := p[:n]; len(b) > 0; {
		if g.skip > 0 {
			k := min(g.skip, len(b))
			g.skip -= k
			b = b[k:]
			continue
		}
		k := copy(g.head[g.have:], b)
		g.have += k
		b = b[k:]
		if g.have == len(g.head) {
			g.have = 0
			g.skip = int(g.head[0])<<16 | int(g.head[1])<<8 | int(g.head[2])
			if !g.admit(http2.FrameType(g.head[3]), http2.Flags(g.head[4])) {
				g.flooded = true
				return 0, ErrFlood
			}
		}
	}
	return n, err
}

// admit says whether a frame may come.
func (g *guard) admit(t http2.FrameType, flags http2.Flags) bool {
	if !g.all.take() {
		return false
	}
	switch t {
	case http2.FrameData:
		return g.skip > 0 || flags.Has(http2.FlagDataEndStream) || g.empty.take()
	case http2.FrameHeaders, http2.FrameRSTStream, http2.FrameWindowUpdate:
		return true
	case http2.FrameSettings, http2.FramePing, http2.FramePriority, http2.FrameGoAway, http2.FrameContinuation:
		return g.empty.take()
	default: // the transport would write a line to the log for each
		return false
	}
}

// bucket has tokens that come back with time.
type bucket struct {
	left, burst, rate float64
	at                time.Time // when it was last filled
}

func (b *bucket) take() bool {
	if b.left < 1 {
		now := time.Now()
		b.left = min(b.burst, b.left+now.Sub(b.at).Seconds()*b.rate)
		b.at = now
	}
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
