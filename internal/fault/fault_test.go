package fault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
)

func TestKindsSurviveTheWire(t *testing.T) {
	for _, k := range []*fault.Kind{
		fault.Invalid, fault.NotFound, fault.Exists, fault.Precondition, fault.Unauthenticated,
		fault.Denied, fault.Exhausted, fault.Unavailable, fault.DataLoss, fault.Internal,
	} {
		sent := fmt.Errorf("app %q: %w", "x", fault.New(k, "because"))
		got := fault.FromConnect(fault.ToConnect(sent))
		if !errors.Is(got, k) {
			t.Errorf("%v came back as %v", k, fault.KindOf(got))
		}
		if !strings.Contains(got.Error(), `app "x": because`) {
			t.Errorf("%v lost its text: %q", k, got)
		}
		if fault.Named(k.Error()) != k {
			t.Errorf("%v is not found by its name", k)
		}
	}
}

func TestErrorsWithoutAKindDoNotLeak(t *testing.T) {
	got := fault.ToConnect(errors.New("open /secret/path: permission denied"))
	if connect.CodeOf(got) != connect.CodeInternal || strings.Contains(got.Error(), "/secret") {
		t.Errorf("got %v", got)
	}
}

func TestContextErrors(t *testing.T) {
	for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
		if got := fault.FromConnect(fault.ToConnect(fmt.Errorf("call: %w", want))); !errors.Is(got, want) {
			t.Errorf("%v came back as %v", want, got)
		}
	}
}

func TestAPeerThatDoesNotAnswerIsUnavailable(t *testing.T) {
	if got := fault.FromConnect(errors.New("connection refused")); !errors.Is(got, fault.Unavailable) {
		t.Errorf("got %v", got)
	}
}

func TestNilStaysNil(t *testing.T) {
	if fault.ToConnect(nil) != nil || fault.FromConnect(nil) != nil || fault.Wrap(fault.Invalid, nil) != nil {
		t.Error("nil became an error")
	}
}
