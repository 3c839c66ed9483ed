package objectrpc

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/dict"
	"github.com/skerry-dev/skerry/gateway/object"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/wire"
)

// NewDictService returns the handler of DictService.
func NewDictService(objects *object.Service, dicts *dict.Service) skerryv1connect.DictServiceHandler {
	return &dictService{gatewire.Named{Noun: "dict", Objects: objects}, dicts}
}

type dictService struct {
	gatewire.Named
	dicts *dict.Service
}

func (s *dictService) GetDict(ctx context.Context, req *connect.Request[skerryv1.GetDictRequest]) (*connect.Response[skerryv1.GetDictResponse], error) {
	info, err := s.Get(ctx, req.Msg.GetName(), req.Msg.GetEnvironment(), req.Msg.GetCreation())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetDictResponse{Info: info}), nil
}

func (s *dictService) DescribeDict(ctx context.Context, req *connect.Request[skerryv1.DescribeDictRequest]) (*connect.Response[skerryv1.DescribeDictResponse], error) {
	o, err := s.Find(ctx, req.Msg.GetDictId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DescribeDictResponse{Info: gatewire.ObjectToProto(ctx, o)}), nil
}

func (s *dictService) ListDicts(ctx context.Context, req *connect.Request[skerryv1.ListDictsRequest]) (*connect.Response[skerryv1.ListDictsResponse], error) {
	found, err := s.List(ctx, req.Msg.GetPage())
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListDictsResponse{}
	for _, o := range found {
		res.Dicts = append(res.Dicts, gatewire.ObjectToProto(ctx, o))
	}
	return connect.NewResponse(res), nil
}

func (s *dictService) DeleteDict(ctx context.Context, req *connect.Request[skerryv1.DeleteDictRequest]) (*connect.Response[skerryv1.DeleteDictResponse], error) {
	if err := s.Delete(ctx, req.Msg.GetDictId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DeleteDictResponse{}), nil
}

func (s *dictService) KeepDict(ctx context.Context, req *connect.Request[skerryv1.KeepDictRequest]) (*connect.Response[skerryv1.KeepDictResponse], error) {
	if err := s.Keep(ctx, req.Msg.GetDictId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.KeepDictResponse{}), nil
}

// key checks a dict and a key.
func (s *dictService) key(ctx context.Context, dictID string, p *skerryv1.Payload) (dict.Key, error) {
	if _, err := s.Find(ctx, dictID); err != nil {
		return dict.Key{}, err
	}
	return keyFromProto(p)
}

func keyFromProto(p *skerryv1.Payload) (dict.Key, error) {
	k := dict.Key{Format: payload.Format(p.GetFormat() & 0xff), Data: p.GetInline()} //nolint:gosec // an unknown one is refused
	return k, k.Check()
}

func entryFromProto(m *skerryv1.DictEntry) (e dict.Entry, err error) {
	if e.Key, err = keyFromProto(m.GetKey()); err != nil {
		return e, err
	}
	value, err := wire.PayloadFromProto(m.GetValue())
	if err != nil {
		return e, err
	}
	e.Value = *value
	return e, e.Check()
}

// value turns what a key has into an answer; a key without a value is none.
func value(p payload.Payload, err error) (*skerryv1.Payload, error) {
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return wire.PayloadToProto(&p), nil
}

func (s *dictService) GetDictEntry(ctx context.Context, req *connect.Request[skerryv1.GetDictEntryRequest]) (*connect.Response[skerryv1.GetDictEntryResponse], error) {
	key, err := s.key(ctx, req.Msg.GetDictId(), req.Msg.GetKey())
	if err != nil {
		return nil, err
	}
	found, err := value(s.dicts.Get(ctx, req.Msg.GetDictId(), key))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetDictEntryResponse{Value: found}), nil
}

func (s *dictService) HasDictEntry(ctx context.Context, req *connect.Request[skerryv1.HasDictEntryRequest]) (*connect.Response[skerryv1.HasDictEntryResponse], error) {
	key, err := s.key(ctx, req.Msg.GetDictId(), req.Msg.GetKey())
	if err != nil {
		return nil, err
	}
	found, err := s.dicts.Has(ctx, req.Msg.GetDictId(), key)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.HasDictEntryResponse{Found: found}), nil
}

func (s *dictService) PutDictEntry(ctx context.Context, req *connect.Request[skerryv1.PutDictEntryRequest]) (*connect.Response[skerryv1.PutDictEntryResponse], error) {
	m := req.Msg
	if _, err := s.Find(ctx, m.GetDictId()); err != nil {
		return nil, err
	}
	e, err := entryFromProto(m.GetEntry())
	if err != nil {
		return nil, err
	}
	if err := checkRequest(m.GetRequestId()); err != nil {
		return nil, err
	}
	e.Request = m.GetRequestId()
	created, err := s.dicts.Put(ctx, m.GetDictId(), e, m.GetOnlyIfMissing())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.PutDictEntryResponse{Created: created}), nil
}

func (s *dictService) UpdateDict(ctx context.Context, req *connect.Request[skerryv1.UpdateDictRequest]) (*connect.Response[skerryv1.UpdateDictResponse], error) {
	m := req.Msg
	if _, err := s.Find(ctx, m.GetDictId()); err != nil {
		return nil, err
	}
	if n := len(m.GetEntries()); n == 0 || n > dict.MaxUpdate {
		return nil, fault.New(fault.Invalid, "dict: %d entries at once; want 1 to %d", n, dict.MaxUpdate)
	}
	entries, size := make([]dict.Entry, len(m.GetEntries())), 0
	for i, p := range m.GetEntries() {
		e, err := entryFromProto(p)
		if err != nil {
			return nil, err
		}
		size += len(e.Key.Data) + len(e.Value.Inline)
		entries[i] = e
	}
	if size > dict.MaxUpdateBytes {
		return nil, fault.New(fault.Invalid, "dict: entries of together %d bytes at once; want at most %d", size, dict.MaxUpdateBytes)
	}
	if err := s.dicts.Update(ctx, m.GetDictId(), entries); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.UpdateDictResponse{}), nil
}

func (s *dictService) PopDictEntry(ctx context.Context, req *connect.Request[skerryv1.PopDictEntryRequest]) (*connect.Response[skerryv1.PopDictEntryResponse], error) {
	key, err := s.key(ctx, req.Msg.GetDictId(), req.Msg.GetKey())
	if err != nil {
		return nil, err
	}
	if err := checkRequest(req.Msg.GetRequestId()); err != nil {
		return nil, err
	}
	found, err := value(s.dicts.Pop(ctx, req.Msg.GetDictId(), key, req.Msg.GetRequestId()))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.PopDictEntryResponse{Value: found}), nil
}

func (s *dictService) CountDict(ctx context.Context, req *connect.Request[skerryv1.CountDictRequest]) (*connect.Response[skerryv1.CountDictResponse], error) {
	if _, err := s.Find(ctx, req.Msg.GetDictId()); err != nil {
		return nil, err
	}
	n, err := s.dicts.Count(ctx, req.Msg.GetDictId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CountDictResponse{Count: n}), nil
}

func (s *dictService) ClearDict(ctx context.Context, req *connect.Request[skerryv1.ClearDictRequest]) (*connect.Response[skerryv1.ClearDictResponse], error) {
	if _, err := s.Find(ctx, req.Msg.GetDictId()); err != nil {
		return nil, err
	}
	if err := s.dicts.Clear(ctx, req.Msg.GetDictId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.ClearDictResponse{}), nil
}

func (s *dictService) ReadDict(ctx context.Context, req *connect.Request[skerryv1.ReadDictRequest], stream *connect.ServerStream[skerryv1.ReadDictResponse]) error {
	m := req.Msg
	if _, err := s.Find(ctx, m.GetDictId()); err != nil {
		return err
	}
	return s.dicts.Read(ctx, m.GetDictId(), m.GetAfter(), func(entries []dict.Entry, cursor uint64) error {
		res := &skerryv1.ReadDictResponse{Cursor: cursor}
		for i := range entries {
			e := &skerryv1.DictEntry{Key: wire.PayloadToProto(&payload.Payload{Format: entries[i].Key.Format, Inline: entries[i].Key.Data})}
			if !m.GetKeysOnly() {
				e.Value = wire.PayloadToProto(&entries[i].Value)
			}
			res.Entries = append(res.Entries, e)
		}
		return stream.Send(res)
	})
}
