package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// extensionECH is the extension that has an encrypted hello in it.
const extensionECH = 0xfe0d

// hello is what a client says first.
type hello struct {
	name      string // of the server, in the spelling of policies
	encrypted bool   // there may be another name in it that nobody but the server can read
	read      []byte // of the connection
}

// readHello reads a TLS hello from a connection and nothing of what comes after the client's first words. The library's own server parses
// it, so that what a server would not understand is refused. Errors: fault.Invalid for anything but a hello with a host's name.
func readHello(ctx context.Context, conn net.Conn) (*hello, error) {
	r := &recorder{Conn: conn}
	var found *tls.ClientHelloInfo
	server := tls.Server(r, &tls.Config{
		MinVersion: tls.VersionTLS10, // nothing is negotiated here
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			found = info
			return nil, errHeard
		},
	})
	err := server.HandshakeContext(ctx)
	if found == nil {
		return nil, fault.New(fault.Invalid, "not a TLS hello: %v", err)
	}
	name, err := policy.Name(found.ServerName)
	if err != nil {
		return nil, fault.New(fault.Invalid, "TLS hello without a host's name: %v", err)
	}
	return &hello{name: name, encrypted: slices.Contains(found.Extensions, extensionECH), read: r.read.Bytes()}, nil
}

// errHeard ends the handshake once the hello is there.
var errHeard = errors.New("heard")

// recorder keeps what is read, up to MaxHello, and writes nothing: the alert with which the library ends a handshake is not for the client.
type recorder struct {
	net.Conn

	read bytes.Buffer
}

// Read reads and keeps. Errors: io.ErrUnexpectedEOF beyond MaxHello.
func (r *recorder) Read(b []byte) (int, error) {
	left := MaxHello - r.read.Len()
	if left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := r.Conn.Read(b[:min(len(b), left)])
	r.read.Write(b[:n])
	return n, err
}

// Write does nothing.
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }

// Alerts of TLS with which a client is told why its connection ends.
const (
	alertAccessDenied  = 49
	alertInternalError = 80
)

// alert sends a fatal alert, before anything is encrypted.
func alert(conn net.Conn, code byte) {
	const recordAlert, levelFatal = 21, 2
	_, _ = conn.Write([]byte{recordAlert, 3, 3, 0, 2, levelFatal, code}) // a client that has gone away needs no reason
}
