package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// DefaultListen is where a gateway listens unless told otherwise: on this machine alone.
const DefaultListen = "127.0.0.1:7070"

// Limits of connections. HTTP/2's defaults in Go (250 streams, 1 MiB windows) hold up clients with many calls and large payloads.
const (
	maxStreams        = 100_000
	maxFrame          = 1 << 20
	streamWindow      = 4 << 20
	connectionWindow  = 32 << 20
	pingAfter         = 30 * time.Second
	pingTimeout       = 15 * time.Second
	readHeaderTimeout = 15 * time.Second
	maxHeaderBytes    = 64 << 10
)

// checkListen refuses to listen in clear where others can hear it.
func checkListen(cfg Config) error {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return fault.New(fault.Invalid, "listen address %q: want host:port, such as %s", cfg.Listen, DefaultListen)
	}
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return fault.New(fault.Invalid, "tls: --tls-cert and --tls-key go together; give both or neither")
	}
	if cfg.TLSCert != "" || cfg.Insecure || host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return fault.New(fault.Precondition, "listen address %q: others can reach it and would see tokens and code in clear; "+
		"give --tls-cert and --tls-key, or --insecure where the network in front of it is encrypted", cfg.Listen)
}

// listen opens the port, with TLS where a certificate is configured.
func listen(ctx context.Context, cfg Config) (net.Listener, error) {
	if err := checkListen(cfg); err != nil {
		return nil, err
	}
	var tlsConfig *tls.Config
	if cfg.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		if err != nil {
			return nil, fault.New(fault.Invalid, "tls certificate %q with key %q: %w", cfg.TLSCert, cfg.TLSKey, err)
		}
		tlsConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fault.New(fault.Precondition, "listen address %q: %w; stop what uses it, or choose another with --listen", cfg.Listen, err)
	}
	if tlsConfig != nil {
		ln = tls.NewListener(ln, tlsConfig)
	}
	return ln, nil
}

// newHTTPServer speaks HTTP/1.1 and HTTP/2 on one port, in clear or behind TLS.
func newHTTPServer(h http.Handler) *http.Server {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		Protocols:         &p,
		ReadHeaderTimeout: readHeaderTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReadFrameSize:              maxFrame,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: connectionWindow,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
		},
	}
}
