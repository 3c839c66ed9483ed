// Package netdump lists what the kernel's network has. While the kernel writes a list out, others may change what is in it; the kernel then
// says that the list is not to be trusted.
package netdump

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// attempts is how often a list is asked for. A change has to meet each of them, and each takes under a millisecond.
const attempts = 100

// Whole returns what list does, which is asked again while its list was interrupted by a change. Errors: list's own.
func Whole[T any](list func() ([]T, error)) ([]T, error) {
	for range attempts - 1 {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	all, err := list()
	if err != nil {
		return nil, fmt.Errorf("after %d attempts: %w", attempts, err)
	}
	return all, nil
}
