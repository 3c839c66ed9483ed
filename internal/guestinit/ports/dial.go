// Package ports joins streams of HTTP/2 to TCP connections inside a container.
package ports

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"
)

// dialTime bounds how long a port may take to answer.
const dialTime = 10 * time.Second

// Dial connects to a port inside: at 127.0.0.1, else at ::1, else at the container's own addresses. The error is that of 127.0.0.1.
func Dial(ctx context.Context, port uint16) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	var d net.Dialer
	try := func(host string) (*net.TCPConn, error) {
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return nil, errors.Join(errors.New("no TCP connection"), conn.Close())
		}
		return tcp, nil
	}
	conn, first := try("127.0.0.1")
	if first == nil {
		return conn, nil
	}
	for _, host := range append([]string{"::1"}, own()...) {
		if conn, err := try(host); err == nil {
			return conn, nil
		}
	}
	return nil, first
}

// own are the container's addresses besides loopback, where a server may listen alone.
func own() []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil // no network
	}
	var hosts []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts
}
