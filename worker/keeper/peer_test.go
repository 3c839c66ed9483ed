package keeper

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
)

// pair returns two peers that are connected; the second answers.
func pair(t *testing.T, answer func(ctx context.Context, m *message) (reply, error)) (one, other *peer) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var peers []*peer
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close() // conn has a copy
		unixConn, _ := conn.(*net.UnixConn)
		a := answer
		if i == 0 {
			a = func(context.Context, *message) (reply, error) { return reply{}, fault.New(fault.Denied, "asks only") }
		}
		p := newPeer(unixConn, a)
		peers = append(peers, p)
		running.Go(func() { _ = p.run(context.Background()) })
	}
	t.Cleanup(func() {
		peers[0].close()
		running.Wait()
	})
	return peers[0], peers[1]
}

func TestPeersAsk(t *testing.T) {
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() // only sent
	one, other := pair(t, func(_ context.Context, m *message) (reply, error) {
		switch m.Op {
		case "echo":
			return reply{args: m.Args, data: bytes.Repeat([]byte("x"), 5<<20), file: file}, nil
		case "missing":
			return reply{}, fmt.Errorf("blob: %w", fault.New(fault.NotFound, "there is none"))
		case "late":
			return reply{}, context.DeadlineExceeded
		}
		return reply{}, errors.New("no kind")
	})
	var asking sync.WaitGroup
	for i := range 20 {
		asking.Go(func() {
			var got int
			data, sent, err := one.call(t.Context(), "echo", i, &got, file)
			if err != nil || got != i || len(data) != 5<<20 || sent == nil {
				t.Errorf("%d: %d, %d bytes, %v, %v", i, got, len(data), sent, err)
				return
			}
			if info, err := sent.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
				t.Errorf("the descriptor: %v, %v", info, err)
			}
			_ = sent.Close()
		})
	}
	asking.Wait()
	for op, want := range map[string]error{"missing": fault.NotFound, "late": fault.Unavailable} {
		if _, _, err := one.call(t.Context(), op, nil, nil, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", op, err)
		}
	}
	if _, _, err := one.call(t.Context(), "other", nil, nil, nil); err == nil || fault.KindOf(err) != nil || err.Error() != "no kind" {
		t.Errorf("other: %v", err)
	}
	if _, _, err := other.call(t.Context(), "ask", nil, nil, nil); !errors.Is(err, fault.Denied) {
		t.Errorf("the other way: %v", err)
	}
	if _, _, err := one.call(t.Context(), "echo", bytes.Repeat([]byte("x"), maxHead), nil, nil); !errors.Is(err, fault.Exhausted) {
		t.Errorf("too long: %v", err)
	}
}

func TestPeerThatGoes(t *testing.T) {
	asked := make(chan struct{})
	one, other := pair(t, func(ctx context.Context, _ *message) (reply, error) {
		close(asked)
		<-ctx.Done()
		return reply{}, ctx.Err()
	})
	answered := make(chan error, 1)
	go func() {
		_, _, err := one.call(t.Context(), "wait", nil, nil, nil)
		answered <- err
	}()
	<-asked
	other.close()
	if err := <-answered; !errors.Is(err, errEnded) {
		t.Errorf("asked: %v", err)
	}
	if _, _, err := one.call(t.Context(), "wait", nil, nil, nil); !errors.Is(err, errEnded) {
		t.Errorf("asked after the end: %v", err)
	}
}

// TestHostilePeers says wrong things to a keeper, which ends those connections and serves its worker.
func TestHostilePeers(t *testing.T) {
	r := newRig(t)
	c := r.client(t)
	f, release := r.open(t, c)
	socket := folder(r.Dir + "/1").socket()
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	lengths := func(head, data uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, head), data)
	}
	asks := func(m message) []byte {
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return append(lengths(uint32(len(text)), 0), text...)
	}
	for name, said := range map[string][]byte{
		"long head":    lengths(1<<31, 0),
		"long data":    lengths(2, 1<<31),
		"no message":   append(lengths(5, 0), "hello"...),
		"half":         lengths(100, 0)[:5],
		"no protocols": asks(message{ID: 1, Op: opHello, Args: []byte(`[]`)}),
		"others":       asks(message{ID: 1, Op: opHello, Args: []byte(`{"oldest":7,"newest":9}`)}),
		"no hello":     asks(message{ID: 1, Op: opStop}),
		"unknown":      append(asks(message{ID: 1, Op: "unknown"}), asks(message{ID: 9})...),
	} {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := conn.Write(said); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil && !errors.Is(err, syscall.ECONNRESET) || bytes.Contains(answer, []byte(`"release"`)) {
			t.Errorf("%s: answered %q, %v", name, answer, err)
		}
		_ = conn.Close()
	}
	if err := r.read(f, 7); err != nil {
		t.Error(err)
	}
	f.close()
	release()
}

// TestOtherUsers has a user that is not the keeper's connect, where even the modes of files let it.
func TestOtherUsers(t *testing.T) {
	r := newRig(t)
	c := r.client(t)
	f, release := r.open(t, c)
	socket := folder(r.Dir + "/1").socket()
	dial := func() string {
		out, err := exec.CommandContext(t.Context(), "python3", "-c", `
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
except PermissionError:
    print("refused")
    sys.exit()
try:
    s.sendall(b"\0\0\0\2\0\0\0\0{}")
    print(s.recv(100))
except (BrokenPipeError, ConnectionResetError):
    print(b"")`, socket).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(bytes.TrimSpace(out))
	}
	if got := dial(); got != "refused" {
		t.Errorf("with the modes that they have: %s", got)
	}
	for _, path := range []string{r.Dir + "/..", r.Dir, r.Dir + "/1", socket} {
		if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // that is what is tested
			t.Fatal(err)
		}
	}
	if got := dial(); got != "b''" {
		t.Errorf("with modes that let them: %s", got)
	}
	if err := r.read(f, 7); err != nil {
		t.Error(err)
	}
	f.close()
	release()
}
