package filesrpc

import (
	"context"
	"errors"
	"io"
	"sync"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/guestinit/files"
)

// How much of a file is read at a time, in bytes. Each stream holds about three times as much while its reader is slow: many streams take
// smaller pieces, so that all together stay small.
const (
	largePiece = 256 << 10
	smallPiece = 32 << 10
	// fewStreams may have large pieces.
	fewStreams = 16
	// maxPiece is how much a client may send at a time, in bytes.
	maxPiece = 1 << 20
)

var (
	largePieces = sync.Pool{New: func() any { b := make([]byte, largePiece); return &b }}
	smallPieces = sync.Pool{New: func() any { b := make([]byte, smallPiece); return &b }}
)

// piece borrows a buffer of the size that fits how many streams there are.
func (s *Service) piece() (buf []byte, giveBack func()) {
	pool := &largePieces
	if s.streams.Load() > fewStreams {
		pool = &smallPieces
	}
	b := pool.Get().(*[]byte)
	return *b, func() { pool.Put(b) }
}

// ReadFile sends a file.
func (s *Service) ReadFile(
	ctx context.Context, req *connect.Request[skerryv1.ReadFileRequest], stream *connect.ServerStream[skerryv1.ReadFileResponse],
) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	m := req.Msg
	r, err := s.tree.Open(m.GetPath(), files.Part{Offset: m.GetOffset(), Length: m.GetLength(), MaxSize: m.GetMaxSize()})
	if err != nil {
		return toConnect(err)
	}
	defer r.Close()
	info := toInfo(r.Info)
	for {
		more, err := s.send(stream, r, info)
		if err != nil || !more {
			return toConnect(err)
		}
		if ctx.Err() != nil {
			return fault.ToConnect(context.Cause(ctx))
		}
		info = nil
	}
}

// send sends the next piece, and says whether there may be more.
func (s *Service) send(stream *connect.ServerStream[skerryv1.ReadFileResponse], r *files.Reader, info *skerryv1.FileInfo) (more bool, err error) {
	buf, giveBack := s.piece()
	defer giveBack()
	n, err := io.ReadFull(r, buf)
	end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !end {
		return false, err
	}
	if n == 0 && info == nil {
		return false, nil
	}
	return !end, stream.Send(&skerryv1.ReadFileResponse{Info: info, Data: buf[:n]})
}

var errNoStart = fault.New(fault.Invalid, "write a file: the first frame wants start, and no other")

// WriteFile makes or replaces a file.
func (s *Service) WriteFile(
	_ context.Context, stream *connect.ClientStream[skerryv1.WriteFileRequest],
) (*connect.Response[skerryv1.WriteFileResponse], error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	if !stream.Receive() {
		if err := stream.Err(); err != nil {
			return nil, fault.ToConnect(err)
		}
		return nil, fault.ToConnect(errNoStart)
	}
	start := stream.Msg().GetStart()
	if start == nil {
		return nil, fault.ToConnect(errNoStart)
	}
	w, err := s.tree.Create(files.NewFile{
		Path: start.GetPath(), MakeParents: start.GetMakeParents(), Mode: start.GetMode(), Exclusive: start.GetExclusive(),
	})
	if err != nil {
		return nil, toConnect(err)
	}
	if err := receive(stream, w); err != nil {
		return nil, toConnect(errors.Join(err, w.Abort()))
	}
	info, err := w.Commit()
	if err != nil {
		return nil, toConnect(err)
	}
	return connect.NewResponse(&skerryv1.WriteFileResponse{Info: toInfo(info)}), nil
}

// receive writes what comes, the frame that is there first, until the end frame.
func receive(stream *connect.ClientStream[skerryv1.WriteFileRequest], w io.Writer) error {
	for first := true; first || stream.Receive(); first = false {
		m := stream.Msg()
		if len(m.GetData()) > maxPiece {
			return fault.New(fault.Invalid, "write a file: %d bytes in a frame: want at most %d", len(m.GetData()), maxPiece)
		}
		if !first && m.GetStart() != nil {
			return errNoStart
		}
		if _, err := w.Write(m.GetData()); err != nil {
			return err
		}
		if m.GetEnd() {
			return nil
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	return fault.New(fault.Invalid, "write a file: the stream ended before its end frame, so nothing was written")
}
