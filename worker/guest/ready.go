package guest

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/internal/fault"
	guestv1 "github.com/skerry-dev/skerry/internal/gen/skerry/guest/v1"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
)

// Probe asks whether a container is ready: something listens at TCPPort, or Argv exits with 0.
type Probe struct {
	TCPPort  uint32
	Argv     []string
	Interval time.Duration // 0: init's default
}

// AwaitReady returns when the probe has succeeded. Errors: fault.Invalid.
func (c *Client) AwaitReady(ctx context.Context, p Probe) error {
	m := &skerryv1.Probe{Kind: &skerryv1.Probe_TcpPort{TcpPort: p.TCPPort}}
	if len(p.Argv) > 0 {
		m.Kind = &skerryv1.Probe_Exec{Exec: &skerryv1.ProbeCommand{Argv: p.Argv}}
	}
	if p.Interval > 0 {
		m.Interval = durationpb.New(p.Interval)
	}
	_, err := c.sandbox.AwaitReady(ctx, connect.NewRequest(&guestv1.AwaitReadyRequest{Probe: m}))
	return fault.FromConnect(err)
}

// Usage is what can be seen of a container's use from inside.
type Usage struct {
	DiskBytes, DiskLimitBytes uint64
	ReceivedBytes, SentBytes  uint64 // by interfaces other than loopback
	Processes                 uint32
}

// Usage says what the container uses.
func (c *Client) Usage(ctx context.Context) (Usage, error) {
	res, err := c.sandbox.GetUsage(ctx, connect.NewRequest(&guestv1.GetUsageRequest{}))
	if err != nil {
		return Usage{}, fault.FromConnect(err)
	}
	m := res.Msg
	return Usage{
		DiskBytes: m.GetDiskBytes(), DiskLimitBytes: m.GetDiskLimitBytes(),
		ReceivedBytes: m.GetNetworkReceivedBytes(), SentBytes: m.GetNetworkSentBytes(), Processes: m.GetProcesses(),
	}, nil
}
