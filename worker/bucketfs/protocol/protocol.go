// Package protocol is what a worker and the process of a bucket's mount say to each other: the worker one line of Settings, the process one line
// with its Answer.
package protocol

import (
	"net/netip"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

// DeviceFD is the descriptor of the FUSE device that the process is started with; the mount is made already.
const DeviceFD = 3

// Files is the folder of the cache below Settings.Root.
const Files = "/files"

// Settings say what to serve. They come over a pipe, for they have the credentials.
type Settings struct {
	Bucket        string `json:"bucket"`
	Endpoint      string `json:"endpoint"` // URL; empty: Amazon's
	Prefix        string `json:"prefix"`   // of keys; empty or with "/" at its end
	ReadOnly      bool   `json:"read_only"`
	RequesterPays bool   `json:"requester_pays"`
	PathStyle     bool   `json:"path_style"`

	AccessKey    string `json:"access_key"` // empty: anonymous
	SecretKey    string `json:"secret_key"`
	SessionToken string `json:"session_token"`
	Region       string `json:"region"` // empty: the bucket's, as far as that is to be found out

	Root       string `json:"root"`        // a folder that the process can't leave: with etc/ for names and Files for its cache
	User       int    `json:"user"`        // whom it runs as, and the owner of its cache
	CacheBytes int64  `json:"cache_bytes"` // of files that are kept there after their use
	Nameserver string `json:"nameserver"`  // address; empty: those of etc/resolv.conf
}

// Check returns a fault.Invalid for settings that no worker gives.
func (s *Settings) Check() error {
	if s.Bucket == "" || s.Root == "" || s.User <= 0 || s.CacheBytes <= 0 {
		return fault.New(fault.Invalid, "settings without a bucket, a folder or a user; the worker starts this program")
	}
	if s.Prefix != "" && !strings.HasSuffix(s.Prefix, "/") {
		return fault.New(fault.Invalid, "prefix %q: want a \"/\" at its end", s.Prefix)
	}
	if s.Nameserver != "" {
		if _, err := netip.ParseAddr(s.Nameserver); err != nil {
			return fault.New(fault.Invalid, "nameserver: %w", err)
		}
	}
	return nil
}

// Answer is what the process says when it serves, or can't.
type Answer struct {
	Kind    string `json:"kind,omitempty"` // of fault; with neither, it serves
	Message string `json:"message,omitempty"`
}

// NewAnswer tells an error, or that there is none.
func NewAnswer(err error) Answer {
	if err == nil {
		return Answer{}
	}
	a := Answer{Kind: fault.Internal.Error(), Message: err.Error()}
	if kind := fault.KindOf(err); kind != nil {
		a.Kind = kind.Error()
	}
	return a
}
