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
	"github.com/skerry-dev/skerry/worker/beside"
)

// pair returns two peers that are connected; the second answers.
func pair(t *testing.T, answer func(ctx context.Context, m *beside.Message) (beside.Reply, error)) (one, other *beside.Peer) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var peers []*beside.Peer
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
			a = func(context.Context, *beside.Message) (beside.Reply, error) {
				return beside.Reply{}, fault.New(fault.Denied, "asks only")
			}
		}
		p := beside.NewPeer(unixConn, a)
		peers = append(peers, p)
		running.Go(func() { _ = p.Run(context.Background()) })
	}
	t.Cleanup(func() {
		peers[0].Close()
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
	one, other := pair(t, func(_ context.Context, m *beside.Message) (beside.Reply, error) {
		switch m.Op {
		case "echo":
			return beside.Reply{Args: m.Args, Data: bytes.Repeat([]byte("x"), 5<<20), File: file}, nil
		case "missing":
			return beside.Reply{}, fmt.Errorf("blob: %w", fault.New(fault.NotFound, "there is none"))
		case "late":
			return beside.Reply{}, context.DeadlineExceeded
		}
		return beside.Reply{}, errors.New("no kind")
	})
	var asking sync.WaitGroup
	for i := range 20 {
		asking.Go(func() {
			var got int
			data, sent, err := one.Call(t.Context(), beside.Request{Op: "echo", Args: i, File: file}, &got)
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
		if _, _, err := one.Call(t.Context(), beside.Request{Op: op, Args: nil}, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", op, err)
		}
	}
	if _, _, err := one.Call(t.Context(), beside.Request{Op: "other", Args: nil}, nil); err == nil || fault.KindOf(err) != nil || err.Error() != "no kind" {
		t.Errorf("other: %v", err)
	}
	if _, _, err := other.Call(t.Context(), beside.Request{Op: "ask", Args: nil}, nil); !errors.Is(err, fault.Denied) {
		t.Errorf("the other way: %v", err)
	}
	if _, _, err := one.Call(t.Context(), beside.Request{Op: "echo", Args: bytes.Repeat([]byte("x"), beside.MaxHead)}, nil); !errors.Is(err, fault.Exhausted) {
		t.Errorf("too long: %v", err)
	}
}

func TestPeerThatGoes(t *testing.T) {
	asked := make(chan struct{})
	one, other := pair(t, func(ctx context.Context, _ *beside.Message) (beside.Reply, error) {
		close(asked)
		<-ctx.Done()
		return beside.Reply{}, ctx.Err()
	})
	answered := make(chan error, 1)
	go func() {
		_, _, err := one.Call(t.Context(), beside.Request{Op: "wait", Args: nil}, nil)
		answered <- err
	}()
	<-asked
	other.Close()
	if err := <-answered; !errors.Is(err, beside.ErrEnded) {
		t.Errorf("asked: %v", err)
	}
	if _, _, err := one.Call(t.Context(), beside.Request{Op: "wait", Args: nil}, nil); !errors.Is(err, beside.ErrEnded) {
		t.Errorf("asked after the end: %v", err)
	}
}

// TestHostilePeers says wrong things to a keeper, which ends those connections and serves its worker.
func TestHostilePeers(t *testing.T) {
	r := newRig(t)
	c := r.client(t)
	f, release := r.open(t, c)
	socket := beside.Folder(r.Dir + "/1").Socket()
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	lengths := func(head, data uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, head), data)
	}
	asks := func(m beside.Message) []byte {
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
		"no protocols": asks(beside.Message{ID: 1, Op: opHello, Args: []byte(`[]`)}),
		"others":       asks(beside.Message{ID: 1, Op: opHello, Args: []byte(`{"oldest":7,"newest":9}`)}),
		"no hello":     asks(beside.Message{ID: 1, Op: opStop}),
		"unknown":      append(asks(beside.Message{ID: 1, Op: "unknown"}), asks(beside.Message{ID: 9})...),
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
	socket := beside.Folder(r.Dir + "/1").Socket()
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
