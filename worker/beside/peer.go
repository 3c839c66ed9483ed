// Package beside is what processes have in common that stand beside a worker and outlive it: a folder with a lock and a socket, and a
// connection to the worker on which both ask.
package beside

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Bounds of a connection.
const (
	// MaxHead is how many bytes a message may have without its data.
	MaxHead = 1 << 20
	// MaxData is how many bytes of data a message may have.
	MaxData = cas.MaxManifest
	// maxRequests is how many requests of the other side are answered at a time; more are refused.
	maxRequests = 1024
	// stuck is how long a peer may take to accept a message before it counts as lost.
	stuck = 60 * time.Second
)

// ErrEnded says that a connection has ended; whether a request was answered before is not known.
var ErrEnded = fault.New(fault.Unavailable, "the connection between the worker and the process beside it has ended")

// Message is a request, or with no Op the answer to one. Lengths come before it, data behind it, and with its first byte a descriptor.
type Message struct {
	ID   uint64          `json:"id"` // of the request; each side has its own numbers
	Op   string          `json:"op,omitempty"`
	Args json.RawMessage `json:"args,omitempty"`
	Kind string          `json:"kind,omitempty"` // of an error, by fault
	Err  string          `json:"error,omitempty"`

	Data []byte   `json:"-"`
	File *os.File `json:"-"`
}

// Reply is what a request is answered with.
type Reply struct {
	Args any
	Data []byte
	File *os.File // stays the answerer's
}

// Request is what the other side is asked.
type Request struct {
	Op   string
	Args any
	Data []byte
	File *os.File // stays the caller's
}

// Peer is one end of a connection on which both sides ask. It is safe for concurrent use.
type Peer struct {
	conn   *net.UnixConn
	answer func(ctx context.Context, m *Message) (Reply, error)
	turn   chan struct{} // a token for who writes
	done   chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan *Message
	ended   bool
}

// NewPeer begins with a connection, which it owns from here on. Run serves it.
func NewPeer(conn *net.UnixConn, answer func(ctx context.Context, m *Message) (Reply, error)) *Peer {
	return &Peer{conn: conn, answer: answer, turn: make(chan struct{}, 1), done: make(chan struct{}), waiting: map[uint64]chan *Message{}}
}

// Run reads until the connection or ctx ends, and returns when all requests are answered. The error says why it ended.
func (p *Peer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var answering sync.WaitGroup
	defer answering.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, p.Close)
	defer stop()
	defer p.end()
	room := make(chan struct{}, maxRequests)
	for {
		m, err := p.read()
		if err != nil {
			return err
		}
		if m.Op == "" {
			p.deliver(m)
			continue
		}
		select {
		case room <- struct{}{}:
			answering.Go(func() {
				defer func() { <-room }()
				p.respond(ctx, m)
			})
		default:
			answering.Go(func() { p.refuse(ctx, m.ID, fault.New(fault.Exhausted, "%d requests at a time", maxRequests)) })
		}
	}
}

// Close ends the connection; Run returns.
func (p *Peer) Close() { _ = p.conn.Close() } // closed already where the other side was first

// Process is the process at the other end.
func (p *Peer) Process() (int, error) {
	peer, err := credentials(p.conn)
	if err != nil {
		return 0, err
	}
	return int(peer.Pid), nil
}

// Done is closed when the connection has ended.
func (p *Peer) Done() <-chan struct{} { return p.done }

// end lets those go who wait for answers.
func (p *Peer) end() {
	p.Close()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	close(p.done)
}

func (p *Peer) deliver(m *Message) {
	p.mu.Lock()
	c := p.waiting[m.ID]
	delete(p.waiting, m.ID)
	p.mu.Unlock()
	if c == nil { // whoever asked has gone
		m.drop()
		return
	}
	c <- m
}

// drop closes the descriptor of a message that nobody wants.
func (m *Message) drop() {
	if m.File != nil {
		_ = m.File.Close() // nothing was written
	}
}

func (p *Peer) respond(ctx context.Context, m *Message) {
	r, err := p.answer(ctx, m)
	m.drop()
	if err != nil {
		p.refuse(ctx, m.ID, err)
		return
	}
	out := &Message{ID: m.ID, Data: r.Data, File: r.File}
	if out.Args, err = json.Marshal(r.Args); err != nil {
		p.refuse(ctx, m.ID, err)
		return
	}
	_ = p.write(ctx, out) // the connection has ended, which run says
}

func (p *Peer) refuse(ctx context.Context, id uint64, err error) {
	out := &Message{ID: id, Err: err.Error()}
	if k := fault.KindOf(err); k != nil {
		out.Kind = k.Error()
	} else if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		out.Kind = fault.Unavailable.Error()
	}
	_ = p.write(ctx, out) // as above
}

// Call asks the other side. A file that comes with the answer is the caller's. Errors: those of the other side with their kind, ErrEnded,
// the cause of ctx.
func (p *Peer) Call(ctx context.Context, q Request, into any) (data []byte, sent *os.File, err error) {
	out := &Message{Op: q.Op, Data: q.Data, File: q.File}
	if out.Args, err = json.Marshal(q.Args); err != nil {
		return nil, nil, err
	}
	c := make(chan *Message, 1)
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return nil, nil, ErrEnded
	}
	p.last++
	out.ID = p.last
	p.waiting[out.ID] = c
	p.mu.Unlock()
	defer p.forget(out.ID, c)
	if err := p.write(ctx, out); err != nil {
		return nil, nil, err
	}
	select {
	case m := <-c:
		return m.result(into)
	case <-p.done:
		return nil, nil, ErrEnded
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// forget ends waiting for an answer.
func (p *Peer) forget(id uint64, c chan *Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
	select {
	case m := <-c:
		m.drop()
	default:
	}
}

func (m *Message) result(into any) (data []byte, file *os.File, err error) {
	if m.Err != "" {
		m.drop()
		if k := fault.Named(m.Kind); k != nil {
			return nil, nil, fault.New(k, "%s", m.Err)
		}
		return nil, nil, errors.New(m.Err)
	}
	if into != nil {
		if err := json.Unmarshal(m.Args, into); err != nil {
			m.drop()
			return nil, nil, fmt.Errorf("answer of the other side: %w", err)
		}
	}
	return m.Data, m.File, nil
}

// write sends a message.
func (p *Peer) write(ctx context.Context, m *Message) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-p.done:
		return ErrEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	head, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(head) > MaxHead || len(m.Data) > MaxData {
		return fault.New(fault.Exhausted, "message of %d and %d bytes: too long", len(head), len(m.Data))
	}
	lengths := binary.BigEndian.AppendUint32(nil, uint32(len(head)))      //nolint:gosec // at most MaxHead
	lengths = binary.BigEndian.AppendUint32(lengths, uint32(len(m.Data))) //nolint:gosec // at most MaxData
	if err := p.send(lengths, head, m); err != nil {
		p.Close() // what follows would be read as the rest of this message
		return ErrEnded
	}
	return nil
}

func (p *Peer) send(lengths, head []byte, m *Message) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(stuck)); err != nil {
		return err
	}
	var rights []byte
	if m.File != nil {
		rights = unix.UnixRights(int(m.File.Fd()))
	}
	n, _, err := p.conn.WriteMsgUnix(lengths, rights, nil)
	if err != nil {
		return err
	}
	rest := net.Buffers{lengths[n:], head, m.Data}
	_, err = rest.WriteTo(p.conn)
	return err
}

// read receives a message.
func (p *Peer) read() (m *Message, err error) {
	lengths, oob := make([]byte, 8), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := p.conn.ReadMsgUnix(lengths, oob)
	if err != nil {
		return nil, err
	}
	file, err := received(oob[:oobn])
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && file != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if n == 0 {
		return nil, io.EOF
	}
	if _, err := io.ReadFull(p.conn, lengths[n:]); err != nil {
		return nil, err
	}
	size, data := binary.BigEndian.Uint32(lengths), binary.BigEndian.Uint32(lengths[4:])
	if size > MaxHead || data > MaxData {
		return nil, fmt.Errorf("message of %d and %d bytes: too long", size, data)
	}
	head := make([]byte, size)
	if _, err := io.ReadFull(p.conn, head); err != nil {
		return nil, err
	}
	m = &Message{File: file}
	if err := json.Unmarshal(head, m); err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	if data > 0 {
		m.Data = make([]byte, data)
		if _, err := io.ReadFull(p.conn, m.Data); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// received returns the descriptor that came with a message, if one did. The Go library has it closed when a program is run.
func received(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil //nolint:nilnil // no descriptor is no error
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	// There is room for one.
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "received"), nil //nolint:gosec // not negative
}
