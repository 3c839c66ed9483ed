package gvisor_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/gvisor"
)

// network makes a namespace with one interface, whose other end on the host has the address ending in 1.
func network(t *testing.T, n int) (netns, host string) {
	t.Helper()
	name, subnet := fmt.Sprintf("skerry_%s%d", instance, n), fmt.Sprintf("10.213.%d.", n)
	veth := fmt.Sprintf("%s%d", instance, n)
	remove := func() error { return exec.Command("ip", "netns", "del", name).Run() }
	_ = remove() // of a test that was killed
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	for _, line := range []string{
		"netns add " + name,
		"link add " + veth + " type veth peer name eth0 netns " + name,
		"addr add " + subnet + "1/24 dev " + veth, "link set " + veth + " up",
		"-n " + name + " link set lo up", "-n " + name + " addr add " + subnet + "2/24 dev eth0", "-n " + name + " link set eth0 up",
		"-n " + name + " route add default via " + subnet + "1",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	return "/run/netns/" + name, subnet + "1"
}

// echo answers connections with what they send.
func echo(t *testing.T, host string) int {
	t.Helper()
	ln, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				buf := make([]byte, 100)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					_, _ = conn.Write(buf[:n])
				}
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr).Port
}

// TestCheckpoint: what a running sandbox has goes on in copies of it, each in a place of its own, and in itself.
func TestCheckpoint(t *testing.T) {
	w := newWorld(t)
	first, host := network(t, 1)
	second, _ := network(t, 2)
	p := w.params("sb-origin")
	p.NetnsPath = first
	l := w.listen("sb-origin")
	box, err := w.runtime.Launch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	l.accept()
	for _, code := range []string{
		"import pty, select, ctypes; libc = ctypes.CDLL(None); state = 'kept'; open('/root/file', 'w').write('f' * 3000000)",
		fmt.Sprintf("outer = socket.create_connection(('%s', %d)); outer.send(b'abc'); assert outer.recv(9) == b'abc'", host, echo(t, host)),
		"server = socket.create_server(('0.0.0.0', 8000)); inner = socket.create_connection(('127.0.0.1', 8000)); peer = server.accept()[0]; peer.send(b'x')",
		"tty, tty_end = pty.openpty(); notify = libc.inotify_init(); libc.inotify_add_watch(notify, b'/root', 0xfff); r, wr = os.pipe()",
		"poll = select.epoll(); [poll.register(fd, select.EPOLLIN) for fd in (tty, notify, r)]",
		"nap = threading.Event(); threading.Thread(target=lambda: (time.sleep(0.5), nap.set()), daemon=True).start()",
		"cat = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)",
	} {
		l.eval(code)
	}
	// The agent hangs on the line: a sandbox need not be ready for it.
	dir := t.TempDir()
	if err := box.Checkpoint(t.Context(), dir, true); err != nil {
		t.Fatal(err)
	}
	if err := box.Nudge(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.accept()
	l.eval("state = 'went on'; outer.send(b'def')")
	if got := l.eval("outer.recv(9).decode()"); got != "def" {
		t.Errorf("the running sandbox's connection: %q", got)
	}

	p = w.params("sb-copy")
	p.NetnsPath = second
	l = w.listen("sb-copy")
	box, err = w.runtime.Restore(t.Context(), gvisor.RestoreParams{From: dir, Sandbox: p})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := box.Nudge(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.accept()
	for code, want := range map[string]string{
		"state, os.getpid(), os.uname().nodename, os.path.getsize('/root/file')": "[kept 1 host-of-sb-copy 3e+06]",
		"inner.recv(9).decode(), inner.send(b'yy'), peer.recv(9).decode()":       "[x 2 yy]",
		"cat.stdin.write('hello' + chr(10)), cat.stdout.readline().strip()":      "[6 hello]",
		"nap.wait(20)": "true",
		"os.write(wr, b'1'), os.write(tty_end, b'hi'), open('/root/n', 'w').write('x'), len(poll.poll(20, 9))": "[1 2 1 3]",
		"outer.settimeout(20), outer.recv(9).decode()":                                                         "[<nil> ]",
	} {
		if got := l.eval(code); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
	// It has its own address, and listens there.
	conn, err := net.Dial("tcp", "10.213.2.2:8000")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

// TestForks: a sandbox with containers that were added is saved and ended, and several copies begin at once.
func TestForks(t *testing.T) {
	w := newWorld(t)
	names := []string{"main", "side"}
	// containers makes the folders of a sandbox's containers.
	containers := func(id string) (params []container.SandboxParams, lines []*line) {
		for _, name := range names {
			p := w.params(id + "-" + name)
			p.Name = name
			params, lines = append(params, p), append(lines, w.listen(p.ID))
		}
		return params, lines
	}
	box, err := w.runtime.Boot(t.Context(), w.params("sb-origin"))
	if err != nil {
		t.Fatal(err)
	}
	params, lines := containers("sb-origin")
	for i, p := range params {
		if _, err := box.Add(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		lines[i].accept().eval("state = '" + p.Name + "'")
	}
	dir := t.TempDir()
	if err := box.Checkpoint(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	<-box.Done()
	if err := box.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	forks := map[string][]*line{}
	for i := range 3 {
		id := fmt.Sprintf("sb-fork%d", i)
		p := w.params(id)
		params, lines := containers(id)
		forks[id] = lines
		wg.Go(func() {
			box, err := w.runtime.Restore(t.Context(), gvisor.RestoreParams{From: dir, Sandbox: p, Empty: true, Added: params})
			if err != nil {
				t.Error(err)
				return
			}
			for _, p := range params {
				err = errors.Join(err, box.Container(p.ID, p.Name).Nudge(t.Context()))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for id, lines := range forks {
		for i, l := range lines {
			if got := l.accept().eval("state, os.uname().nodename"); got != fmt.Sprintf("[%s host-of-%s]", names[i], id) {
				t.Errorf("%s: %s", id, got)
			}
		}
	}
}

// TestRestoreOfNothing leaves nothing behind.
func TestRestoreOfNothing(t *testing.T) {
	w := newWorld(t)
	p := w.params("sb-none")
	if _, err := w.runtime.Restore(t.Context(), gvisor.RestoreParams{From: filepath.Join(w.dir, "none"), Sandbox: p}); err == nil {
		t.Fatal("restored nothing")
	}
	if left, err := w.runtime.List(); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
