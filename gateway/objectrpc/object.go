// Package objectrpc serves the public services of dicts and queues.
package objectrpc

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	requestLength   = 22
	requestAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// checkRequest returns a fault.Invalid unless id can be that of a request.
func checkRequest(id string) error {
	if len(id) != requestLength || strings.Trim(id, requestAlphabet) != "" {
		return fault.New(fault.Invalid, "request id %.80q: want %d letters or digits", id, requestLength)
	}
	return nil
}

// duration returns a duration of a request; otherwise, where it is unset. Errors: fault.Invalid where it is out of bounds.
func duration(what string, d *durationpb.Duration, least, most, otherwise time.Duration) (time.Duration, error) {
	if d == nil {
		return otherwise, nil
	}
	v := d.AsDuration()
	if d.CheckValid() != nil || v < least || v > most {
		return 0, fault.New(fault.Invalid, "%s of %s: want %s to %s", what, v, least, most)
	}
	return v, nil
}
