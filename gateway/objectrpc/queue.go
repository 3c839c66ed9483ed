package objectrpc

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/gateway/object"
	"github.com/skerry-dev/skerry/gateway/queue"
	gatewire "github.com/skerry-dev/skerry/gateway/wire"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/payload"
)

// maxReadWait bounds how long a stream of items waits for the next one.
const maxReadWait = 10 * 365 * 24 * time.Hour

// NewQueueService returns the handler of QueueService.
func NewQueueService(objects *object.Service, queues *queue.Service) skerryv1connect.QueueServiceHandler {
	return &queueService{gatewire.Named{Noun: "queue", Objects: objects}, queues}
}

type queueService struct {
	gatewire.Named
	queues *queue.Service
}

func (s *queueService) GetQueue(ctx context.Context, req *connect.Request[skerryv1.GetQueueRequest]) (*connect.Response[skerryv1.GetQueueResponse], error) {
	info, err := s.Get(ctx, req.Msg.GetName(), req.Msg.GetEnvironment(), req.Msg.GetCreation())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.GetQueueResponse{Info: info}), nil
}

func (s *queueService) DescribeQueue(ctx context.Context, req *connect.Request[skerryv1.DescribeQueueRequest]) (*connect.Response[skerryv1.DescribeQueueResponse], error) {
	o, err := s.Find(ctx, req.Msg.GetQueueId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DescribeQueueResponse{Info: gatewire.ObjectToProto(ctx, o)}), nil
}

func (s *queueService) ListQueues(ctx context.Context, req *connect.Request[skerryv1.ListQueuesRequest]) (*connect.Response[skerryv1.ListQueuesResponse], error) {
	found, err := s.List(ctx, req.Msg.GetPage())
	if err != nil {
		return nil, err
	}
	res := &skerryv1.ListQueuesResponse{}
	for _, o := range found {
		l := &skerryv1.QueueListing{Info: gatewire.ObjectToProto(ctx, o)}
		if req.Msg.GetWithSizes() {
			total, err := s.queues.Total(ctx, o.ID)
			if err != nil {
				return nil, err
			}
			l.Partitions, l.Items = total.Partitions, total.Items
		}
		res.Queues = append(res.Queues, l)
	}
	return connect.NewResponse(res), nil
}

func (s *queueService) DeleteQueue(ctx context.Context, req *connect.Request[skerryv1.DeleteQueueRequest]) (*connect.Response[skerryv1.DeleteQueueResponse], error) {
	if err := s.Delete(ctx, req.Msg.GetQueueId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.DeleteQueueResponse{}), nil
}

func (s *queueService) KeepQueue(ctx context.Context, req *connect.Request[skerryv1.KeepQueueRequest]) (*connect.Response[skerryv1.KeepQueueResponse], error) {
	if err := s.Keep(ctx, req.Msg.GetQueueId()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.KeepQueueResponse{}), nil
}

// partition checks a queue and the key of a partition.
func (s *queueService) partition(ctx context.Context, queueID string, key []byte) error {
	if _, err := s.Find(ctx, queueID); err != nil {
		return err
	}
	return queue.CheckPartition(string(key))
}

func (s *queueService) PutQueueItems(ctx context.Context, req *connect.Request[skerryv1.PutQueueItemsRequest]) (*connect.Response[skerryv1.PutQueueItemsResponse], error) {
	m := req.Msg
	if err := s.partition(ctx, m.GetQueueId(), m.GetPartition()); err != nil {
		return nil, err
	}
	items := make([]queue.Item, len(m.GetItems()))
	for i, p := range m.GetItems() {
		items[i] = queue.Item{Format: payload.Format(p.GetFormat() & 0xff), Data: p.GetData()} //nolint:gosec // an unknown one is refused
	}
	if err := queue.CheckItems(items); err != nil {
		return nil, err
	}
	ttl, err := duration("time to live", m.GetTtl(), time.Second, queue.MaxTTL, queue.DefaultTTL)
	if err != nil {
		return nil, err
	}
	wait, err := duration("wait", m.GetWait(), 0, queue.MaxWait, 0)
	if err != nil {
		return nil, err
	}
	if err := checkRequest(m.GetRequestId()); err != nil {
		return nil, err
	}
	r := queue.Request{QueueID: m.GetQueueId(), Partition: string(m.GetPartition()), ID: m.GetRequestId(), Wait: wait}
	done, err := s.queues.Put(ctx, r, items, ttl)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.PutQueueItemsResponse{Full: !done}), nil
}

func (s *queueService) TakeQueueItems(ctx context.Context, req *connect.Request[skerryv1.TakeQueueItemsRequest]) (*connect.Response[skerryv1.TakeQueueItemsResponse], error) {
	m := req.Msg
	if err := s.partition(ctx, m.GetQueueId(), m.GetPartition()); err != nil {
		return nil, err
	}
	if m.GetCount() == 0 || m.GetCount() > queue.MaxItems {
		return nil, fault.New(fault.Invalid, "queue: %d items asked for; want 1 to %d", m.GetCount(), queue.MaxItems)
	}
	wait, err := duration("wait", m.GetWait(), 0, queue.MaxWait, 0)
	if err != nil {
		return nil, err
	}
	if err := checkRequest(m.GetRequestId()); err != nil {
		return nil, err
	}
	r := queue.Request{QueueID: m.GetQueueId(), Partition: string(m.GetPartition()), ID: m.GetRequestId(), Wait: wait}
	items, err := s.queues.Take(ctx, r, int(m.GetCount()))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.TakeQueueItemsResponse{Items: itemsToProto(items)}), nil
}

func (s *queueService) ReturnQueueItems(ctx context.Context, req *connect.Request[skerryv1.ReturnQueueItemsRequest]) (*connect.Response[skerryv1.ReturnQueueItemsResponse], error) {
	m := req.Msg
	if err := s.partition(ctx, m.GetQueueId(), m.GetPartition()); err != nil {
		return nil, err
	}
	if err := checkRequest(m.GetRequestId()); err != nil {
		return nil, err
	}
	r := queue.Request{QueueID: m.GetQueueId(), Partition: string(m.GetPartition()), ID: m.GetRequestId()}
	if err := s.queues.GiveBack(ctx, r); err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.ReturnQueueItemsResponse{}), nil
}

func itemsToProto(items []queue.Item) []*skerryv1.QueueItem {
	out := make([]*skerryv1.QueueItem, len(items))
	for i, item := range items {
		out[i] = &skerryv1.QueueItem{Format: skerryv1.PayloadFormat(item.Format), Data: item.Data}
	}
	return out
}

// either checks a queue, and that a partition is named only where not all are meant.
func (s *queueService) either(ctx context.Context, queueID string, key []byte, all bool) error {
	if all && len(key) > 0 {
		return fault.New(fault.Invalid, "queue %q: either a partition or all of them", queueID)
	}
	return s.partition(ctx, queueID, key)
}

func (s *queueService) CountQueue(ctx context.Context, req *connect.Request[skerryv1.CountQueueRequest]) (*connect.Response[skerryv1.CountQueueResponse], error) {
	m := req.Msg
	if err := s.either(ctx, m.GetQueueId(), m.GetPartition(), m.GetTotal()); err != nil {
		return nil, err
	}
	if m.GetTotal() {
		total, err := s.queues.Total(ctx, m.GetQueueId())
		if err != nil {
			return nil, err
		}
		return connect.NewResponse(&skerryv1.CountQueueResponse{Count: total.Items}), nil
	}
	n, err := s.queues.Length(ctx, m.GetQueueId(), string(m.GetPartition()))
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.CountQueueResponse{Count: uint64(n)}), nil //nolint:gosec // not negative
}

func (s *queueService) ClearQueue(ctx context.Context, req *connect.Request[skerryv1.ClearQueueRequest]) (*connect.Response[skerryv1.ClearQueueResponse], error) {
	m := req.Msg
	err := s.either(ctx, m.GetQueueId(), m.GetPartition(), m.GetAll())
	switch {
	case err != nil:
	case m.GetAll():
		err = s.queues.ClearAll(ctx, m.GetQueueId())
	default:
		err = s.queues.Clear(ctx, m.GetQueueId(), string(m.GetPartition()))
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&skerryv1.ClearQueueResponse{}), nil
}

func (s *queueService) ReadQueue(ctx context.Context, req *connect.Request[skerryv1.ReadQueueRequest], stream *connect.ServerStream[skerryv1.ReadQueueResponse]) error {
	m := req.Msg
	if err := s.partition(ctx, m.GetQueueId(), m.GetPartition()); err != nil {
		return err
	}
	wait, err := duration("wait", m.GetWait(), 0, maxReadWait, 0)
	if err != nil {
		return err
	}
	r := queue.Reading{QueueID: m.GetQueueId(), Partition: string(m.GetPartition()), After: m.GetAfter(), Wait: wait}
	return s.queues.Read(ctx, r, func(items []queue.Item, cursor uint64) error {
		return stream.Send(&skerryv1.ReadQueueResponse{Items: itemsToProto(items), Cursor: cursor})
	})
}
