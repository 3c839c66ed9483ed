package keeper

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
	maxHead = 1 << 20 // bytes of a message without its data
	maxData = cas.MaxManifest
	// maxRequests is how many requests of the other side are answered at a time; more are refused.
	maxRequests = 1024
	// stuck is how long a peer may take to accept a message before it counts as lost.
	stuck = 60 * time.Second
)

// errEnded says that a connection has ended; whether a request was answered before is not known.
var errEnded = fault.New(fault.Unavailable, "the connection between worker and keeper has ended")

// message is a request, or with no Op the answer to one. Lengths come before it, data behind it, and with its first byte a descriptor.
type message struct {
	ID   uint64          `json:"id"` // of the request; each side has its own numbers
	Op   string          `json:"op,omitempty"`
	Args json.RawMessage `json:"args,omitempty"`
	Kind string          `json:"kind,omitempty"` // of an error, by fault
	Err  string          `json:"error,omitempty"`

	data []byte
	file *os.File
}

// reply is what a request is answered with.
type reply struct {
	args any
	data []byte
	file *os.File // stays the answerer's
}

// peer is one end of a connection on which both sides ask. It is safe for concurrent use.
type peer struct {
	conn   *net.UnixConn
	answer func(ctx context.Context, m *message) (reply, error)
	turn   chan struct{} // a token for who writes
	done   chan struct{} // closed when the connection has ended

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan *message
	ended   bool
}

// newPeer begins with a connection, which it owns from here on. Run serves it.
func newPeer(conn *net.UnixConn, answer func(ctx context.Context, m *message) (reply, error)) *peer {
	return &peer{conn: conn, answer: answer, turn: make(chan struct{}, 1), done: make(chan struct{}), waiting: map[uint64]chan *message{}}
}

// run reads until the connection or ctx ends, and returns when all requests are answered. The error says why it ended.
func (p *peer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var answering sync.WaitGroup
	defer answering.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, p.close)
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
			answering.Go(func() { p.refuse(ctx, m.ID, fault.New(fault.Exhausted, "keeper: %d requests at a time", maxRequests)) })
		}
	}
}

// close ends the connection; run returns.
func (p *peer) close() { _ = p.conn.Close() } // closed already where the other side was first

// end lets those go who wait for answers.
func (p *peer) end() {
	p.close()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	close(p.done)
}

func (p *peer) deliver(m *message) {
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
func (m *message) drop() {
	if m.file != nil {
		_ = m.file.Close() // nothing was written
	}
}

func (p *peer) respond(ctx context.Context, m *message) {
	r, err := p.answer(ctx, m)
	m.drop()
	if err != nil {
		p.refuse(ctx, m.ID, err)
		return
	}
	out := &message{ID: m.ID, data: r.data, file: r.file}
	if out.Args, err = json.Marshal(r.args); err != nil {
		p.refuse(ctx, m.ID, err)
		return
	}
	_ = p.write(ctx, out) // the connection has ended, which run says
}

func (p *peer) refuse(ctx context.Context, id uint64, err error) {
	out := &message{ID: id, Err: err.Error()}
	if k := fault.KindOf(err); k != nil {
		out.Kind = k.Error()
	} else if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		out.Kind = fault.Unavailable.Error()
	}
	_ = p.write(ctx, out) // as above
}

// call asks the other side. A file that comes with the answer is the caller's. Errors: those of the other side with their kind, errEnded,
// the cause of ctx.
func (p *peer) call(ctx context.Context, op string, args, into any, file *os.File) (data []byte, sent *os.File, err error) {
	out := &message{Op: op, file: file}
	if out.Args, err = json.Marshal(args); err != nil {
		return nil, nil, err
	}
	c := make(chan *message, 1)
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return nil, nil, errEnded
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
		return nil, nil, errEnded
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// forget ends waiting for an answer.
func (p *peer) forget(id uint64, c chan *message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
	select {
	case m := <-c:
		m.drop()
	default:
	}
}

func (m *message) result(into any) (data []byte, file *os.File, err error) {
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
			return nil, nil, fmt.Errorf("answer of worker or keeper: %w", err)
		}
	}
	return m.data, m.file, nil
}

// write sends a message.
func (p *peer) write(ctx context.Context, m *message) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-p.done:
		return errEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	head, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(head) > maxHead || len(m.data) > maxData {
		return fault.New(fault.Exhausted, "message of %d and %d bytes: too long", len(head), len(m.data))
	}
	lengths := binary.BigEndian.AppendUint32(nil, uint32(len(head)))      //nolint:gosec // at most maxHead
	lengths = binary.BigEndian.AppendUint32(lengths, uint32(len(m.data))) //nolint:gosec // at most maxData
	if err := p.send(lengths, head, m); err != nil {
		p.close() // what follows would be read as the rest of this message
		return errEnded
	}
	return nil
}

func (p *peer) send(lengths, head []byte, m *message) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(stuck)); err != nil {
		return err
	}
	var rights []byte
	if m.file != nil {
		rights = unix.UnixRights(int(m.file.Fd()))
	}
	n, _, err := p.conn.WriteMsgUnix(lengths, rights, nil)
	if err != nil {
		return err
	}
	rest := net.Buffers{lengths[n:], head, m.data}
	_, err = rest.WriteTo(p.conn)
	return err
}

// read receives a message.
func (p *peer) read() (m *message, err error) {
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
	if size > maxHead || data > maxData {
		return nil, fmt.Errorf("message of %d and %d bytes: too long", size, data)
	}
	head := make([]byte, size)
	if _, err := io.ReadFull(p.conn, head); err != nil {
		return nil, err
	}
	m = &message{file: file}
	if err := json.Unmarshal(head, m); err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	if data > 0 {
		m.data = make([]byte, data)
		if _, err := io.ReadFull(p.conn, m.data); err != nil {
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
