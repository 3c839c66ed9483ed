// Package fault is the closed set of error kinds that Skerry's processes tell one another apart, and their Connect codes.
//
// A noun returns an error that wraps one of the kinds, as in
//
//	fmt.Errorf("function %q: %w", name, fault.NotFound)
//
// callers test it with errors.Is, and the RPC layer of each process turns it into a Connect code with ToConnect and back with
// FromConnect. An error that wraps no kind is Internal: its text is logged, not sent.
package fault

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
)

// Kind is one of the error kinds below. It is an error itself, to be wrapped.
type Kind struct {
	name string
	code connect.Code
}

// Error returns the kind's name, such as "not found".
func (k *Kind) Error() string { return k.name }

// The kinds. Compare with errors.Is.
var (
	// Invalid: the request makes no sense, whatever the state.
	Invalid = &Kind{"invalid", connect.CodeInvalidArgument}
	// NotFound: what is named does not exist.
	NotFound = &Kind{"not found", connect.CodeNotFound}
	// Exists: what is to be made exists.
	Exists = &Kind{"already exists", connect.CodeAlreadyExists}
	// Precondition: the state does not allow it, such as using a stopped app.
	Precondition = &Kind{"failed precondition", connect.CodeFailedPrecondition}
	// Unauthenticated: no token, or a wrong one.
	Unauthenticated = &Kind{"unauthenticated", connect.CodeUnauthenticated}
	// Denied: the token may not do this.
	Denied = &Kind{"permission denied", connect.CodePermissionDenied}
	// Exhausted: a limit is reached.
	Exhausted = &Kind{"resource exhausted", connect.CodeResourceExhausted}
	// Unavailable: a peer is away; trying again may help.
	Unavailable = &Kind{"unavailable", connect.CodeUnavailable}
	// DataLoss: stored bytes are missing or don't match their digest.
	DataLoss = &Kind{"data loss", connect.CodeDataLoss}
	// Unimplemented: it makes sense, and this version or this installation does not have it.
	Unimplemented = &Kind{"not implemented", connect.CodeUnimplemented}
	// Internal: a defect of ours.
	Internal = &Kind{"internal error", connect.CodeInternal}
)

var kinds = []*Kind{Invalid, NotFound, Exists, Precondition, Unauthenticated, Denied, Exhausted, Unavailable, DataLoss, Unimplemented, Internal}

// New returns an error of the kind with a formatted message that leaves the kind's own name out of the text.
func New(k *Kind, format string, args ...any) error {
	return &fault{kind: k, err: fmt.Errorf(format, args...)}
}

// Wrap gives err a kind without changing its text. It returns nil for nil.
func Wrap(k *Kind, err error) error {
	if err == nil {
		return nil
	}
	return &fault{kind: k, err: err}
}

type fault struct {
	kind *Kind
	err  error
}

func (f *fault) Error() string   { return f.err.Error() }
func (f *fault) Unwrap() []error { return []error{f.kind, f.err} }

// KindOf returns the kind that err wraps, or nil if there is none.
func KindOf(err error) *Kind {
	for _, k := range kinds {
		if errors.Is(err, k) {
			return k
		}
	}
	return nil
}

// Named returns the kind whose Error is name, or nil if there is none.
func Named(name string) *Kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return nil
}

// ToConnect turns err into a Connect error for a peer. An error without a kind becomes CodeInternal with a fixed text, so that nothing
// of the inside leaks; the caller logs it. A nil error stays nil.
func ToConnect(err error) error {
	if err == nil {
		return nil
	}
	if ce := new(connect.Error); errors.As(err, &ce) {
		return ce
	}
	if errors.Is(err, context.Canceled) {
		return connect.NewError(connect.CodeCanceled, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	}
	k := KindOf(err)
	if k == nil {
		return connect.NewError(connect.CodeInternal, errors.New("internal error; the gateway's log has the cause"))
	}
	return connect.NewError(k.code, err)
}

// FromConnect gives a Connect error of a peer its kind back. Errors that are not Connect errors are Unavailable, for then the peer
// did not answer. A nil error stays nil.
func FromConnect(err error) error {
	if err == nil {
		return nil
	}
	ce := new(connect.Error)
	if !errors.As(err, &ce) {
		return Wrap(Unavailable, err)
	}
	switch ce.Code() {
	case connect.CodeCanceled:
		return fmt.Errorf("%s: %w", ce.Message(), context.Canceled)
	case connect.CodeDeadlineExceeded:
		return fmt.Errorf("%s: %w", ce.Message(), context.DeadlineExceeded)
	}
	for _, k := range kinds {
		if k.code == ce.Code() {
			return New(k, "%s", ce.Message())
		}
	}
	return New(Unavailable, "%s", ce.Message())
}
