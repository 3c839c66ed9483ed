package callrpc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/skerry-dev/skerry/gateway/call"
	"github.com/skerry-dev/skerry/gateway/item"
	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/payload"
)

func TestSubmitFromProto(t *testing.T) {
	args := &skerryv1.Payload{Format: skerryv1.PayloadFormat_PAYLOAD_FORMAT_PICKLE, Content: &skerryv1.Payload_Inline{Inline: []byte("x")}}
	seen := seenFromProto([]*skerryv1.ItemsSeen{{CallId: "fc-1", Index: 2, Count: 30}, {CallId: "fc-2", Index: 1, Count: 5}})
	got, err := submitFromProto(&skerryv1.Submit{
		CallId: "fc-1", FunctionId: "fu-1", Kind: skerryv1.CallKind_CALL_KIND_SYNC, Resumed: true, ParentInputId: "in-1",
		Inputs: []*skerryv1.Input{{Index: 1, Args: args}, {Index: 2, Args: args, Method: "m"}},
	}, seen)
	if err != nil {
		t.Fatal(err)
	}
	p := payload.Payload{Format: payload.Pickle, Inline: []byte("x")}
	want := call.Submit{
		CallID: "fc-1", FunctionID: "fu-1", Kind: call.Sync, Resumed: true, ParentInputID: "in-1", Seen: map[uint32]uint64{2: 30},
		Inputs: []call.Item{{Index: 1, Args: p}, {Index: 2, Args: p, Method: "m"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFrameToProto(t *testing.T) {
	k := payload.Key{CallID: "fc-1", Index: 3}
	got := frameToProto(&call.Frame{
		Items:    []item.Batch{{Key: k, First: 7, Values: []*payload.Payload{{Format: payload.CBOR, Inline: []byte("y")}}}},
		Outputs:  []call.Output{{Key: k, Result: payload.Result{Status: payload.Success, Generated: true, Items: 7}, ContainerID: "ta-1"}},
		Accepted: []call.Acceptance{{CallID: "fc-2", Indexes: []uint32{0, 1}}},
		Refused:  []call.Refusal{{CallID: "fc-3", Err: fault.New(fault.DataLoss, "gone")}},
		States:   []call.State{{CallID: "fc-4", NumInputs: 2, NumFinished: 1, Expired: true}},
	})
	want := &skerryv1.SessionResponse{
		Items: []*skerryv1.Items{{CallId: "fc-1", Index: 3, First: 7, Values: []*skerryv1.Payload{
			{Format: skerryv1.PayloadFormat_PAYLOAD_FORMAT_CBOR, Content: &skerryv1.Payload_Inline{Inline: []byte("y")}},
		}}},
		Outputs: []*skerryv1.Output{{CallId: "fc-1", Index: 3, Result: &skerryv1.Result{
			Status: skerryv1.ResultStatus_RESULT_STATUS_SUCCESS, ItemsTotal: 7,
		}}},
		Accepted: []*skerryv1.Accepted{{CallId: "fc-2", Indexes: []uint32{0, 1}}},
		Refused:  []*skerryv1.CallRefused{{CallId: "fc-3", Code: 15, Message: "gone"}},
		States:   []*skerryv1.CallState{{CallId: "fc-4", NumInputs: 2, NumFinished: 1, Expired: true}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
