package guest_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/worker/guest"
)

// ran is what a stream of a process told.
type ran struct {
	pid            int32
	stdout, stderr []byte
	at             [2]uint64 // where the two streams are
	gaps           uint64    // bytes that were left out
	exited         *skerryv1.ProcessExited
}

func (r *ran) take(e *skerryv1.ProcessEvent) {
	switch e := e.GetEvent().(type) {
	case *skerryv1.ProcessEvent_Started:
		r.pid = e.Started.GetPid()
	case *skerryv1.ProcessEvent_Output:
		o := e.Output
		r.gaps += o.GetStdoutOffset() - r.at[0] + o.GetStderrOffset() - r.at[1]
		r.stdout, r.stderr = append(r.stdout, o.GetStdout()...), append(r.stderr, o.GetStderr()...)
		r.at = [2]uint64{o.GetStdoutOffset() + uint64(len(o.GetStdout())), o.GetStderrOffset() + uint64(len(o.GetStderr()))}
	case *skerryv1.ProcessEvent_Exited:
		r.exited = e.Exited
	}
}

// run starts a process and follows it to its end.
func (s *sandbox) run(m *skerryv1.StartProcessRequest) (ran, error) {
	s.Helper()
	stream, err := s.processes().StartProcess(s.Context(), connect.NewRequest(m))
	if err != nil {
		return ran{}, err
	}
	defer stream.Close()
	var r ran
	for stream.Receive() {
		r.take(stream.Msg().GetEvent())
	}
	return r, stream.Err()
}

func (s *sandbox) follow(id string, stdout, stderr uint64) (ran, error) {
	s.Helper()
	stream, err := s.processes().FollowProcess(s.Context(), connect.NewRequest(&skerryv1.FollowProcessRequest{
		ProcessId: id, StdoutOffset: stdout, StderrOffset: stderr,
	}))
	if err != nil {
		return ran{}, err
	}
	defer stream.Close()
	r := ran{at: [2]uint64{stdout, stderr}}
	for stream.Receive() {
		r.take(stream.Msg().GetEvent())
	}
	return r, stream.Err()
}

func script(id, text string) *skerryv1.StartProcessRequest {
	return &skerryv1.StartProcessRequest{ProcessId: id, Argv: []string{"sh", "-c", text}}
}

// detached starts a process and leaves it.
func (s *sandbox) detached(m *skerryv1.StartProcessRequest) {
	s.Helper()
	m.NoOutput = true
	if r, err := s.run(m); err != nil || r.pid == 0 || r.exited != nil {
		s.Fatalf("start: %+v, %v", r, err)
	}
}

func (s *sandbox) input(id string, offset uint64, data string, eof bool) (uint64, error) {
	res, err := s.processes().WriteProcessInput(s.Context(), connect.NewRequest(&skerryv1.WriteProcessInputRequest{
		ProcessId: id, Offset: offset, Data: []byte(data), Eof: eof,
	}))
	if err != nil {
		return 0, err
	}
	return res.Msg.GetOffset(), nil
}

func TestProcessService(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	if err := s.SealEnvironment(t.Context(), "se-1", map[string]string{"FROM": "sealed", "SEALED": "yes"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := script("a", `echo "$FROM $KEPT $SEALED $OWN"; pwd; id -u; printf '%s|' "$@" >&2; exit 7`)
	m.Argv = append(m.Argv, "zero", "two words", "", "ünï'\"$x\n")
	m.Env = map[string]string{"OWN": "mine"}
	m.EnvironmentIds, m.Workdir = []string{"se-1"}, dir
	r, err := s.run(m)
	if err != nil || r.pid == 0 || r.exited.GetExitCode() != 7 || r.exited.GetSignal() != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if want := "sealed sandbox yes mine\n" + dir + "\n0\n"; string(r.stdout) != want || string(r.stderr) != "two words||ünï'\"$x\n|" {
		t.Errorf("it wrote %q, %q", r.stdout, r.stderr)
	}
	// Asked again, it is the same process.
	again, err := s.run(m)
	if err != nil || again.pid != r.pid || !bytes.Equal(again.stdout, r.stdout) {
		t.Errorf("again: %+v, %v", again, err)
	}
	part, err := s.follow("a", 7, 4)
	if err != nil || string(part.stdout) != string(r.stdout[7:]) || string(part.stderr) != string(r.stderr[4:]) || part.exited == nil {
		t.Errorf("from offsets: %+v, %v", part, err)
	}
	_, err = s.follow("a", 1000, 0)
	refused(t, err, connect.CodeInvalidArgument)

	if r, err := s.run(script("killed", "kill -KILL $$")); err != nil || r.exited.GetExitCode() != 137 || r.exited.GetSignal() != 9 {
		t.Errorf("killed: %+v, %v", r, err)
	}
	m = script("slow", "sleep 1000 & wait")
	m.Timeout = durationpb.New(50 * time.Millisecond)
	if r, err := s.run(m); err != nil || !r.exited.GetTimedOut() || r.exited.GetExitCode() != 137 {
		t.Errorf("timeout: %+v, %v", r, err)
	}
	m = script("quiet", "echo out; echo err >&2")
	m.DiscardStdout = true
	if r, err := s.run(m); err != nil || len(r.stdout) > 0 || string(r.stderr) != "err\n" {
		t.Errorf("discarded: %+v, %v", r, err)
	}
	m = script("user", "id -u; id -g; echo $HOME; echo through >/dev/stdout; touch /root/x 2>/dev/null || echo no")
	m.User, m.Workdir = "daemon", "/"
	if r, err := s.run(m); err != nil || string(r.stdout) != "1\n1\n/usr/sbin\nthrough\nno\n" {
		t.Errorf("as a user: %q %q, %v", r.stdout, r.stderr, err)
	}
	m = script("number", "id -u; id -g")
	m.User, m.Workdir = "12345", "/"
	if r, err := s.run(m); err != nil || string(r.stdout) != "12345\n12345\n" {
		t.Errorf("as a number: %q, %v", r.stdout, err)
	}
}

func TestProcessRefused(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	with := func(f func(*skerryv1.StartProcessRequest)) *skerryv1.StartProcessRequest {
		m := script("x", "true")
		f(m)
		return m
	}
	for name, x := range map[string]struct {
		m    *skerryv1.StartProcessRequest
		code connect.Code
	}{
		"id":          {script("no/slash", "true"), connect.CodeInvalidArgument},
		"argv":        {with(func(m *skerryv1.StartProcessRequest) { m.Argv = nil }), connect.CodeInvalidArgument},
		"long":        {with(func(m *skerryv1.StartProcessRequest) { m.Argv[2] = strings.Repeat("x", 64<<10) }), connect.CodeInvalidArgument},
		"program":     {with(func(m *skerryv1.StartProcessRequest) { m.Argv[0] = "no-such" }), connect.CodeNotFound},
		"relative":    {with(func(m *skerryv1.StartProcessRequest) { m.Workdir = "tmp" }), connect.CodeInvalidArgument},
		"directory":   {with(func(m *skerryv1.StartProcessRequest) { m.Workdir = "/no/such" }), connect.CodeNotFound},
		"environment": {with(func(m *skerryv1.StartProcessRequest) { m.EnvironmentIds = []string{"no"} }), connect.CodeNotFound},
		"user":        {with(func(m *skerryv1.StartProcessRequest) { m.User = "nobody-here" }), connect.CodeNotFound},
		"timeout":     {with(func(m *skerryv1.StartProcessRequest) { m.Timeout = durationpb.New(-1) }), connect.CodeInvalidArgument},
		"terminal":    {with(func(m *skerryv1.StartProcessRequest) { m.Pty = &skerryv1.TerminalSize{Rows: 1} }), connect.CodeInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.run(x.m)
			refused(t, err, x.code)
		})
	}
	_, err := s.input("none", 0, "x", false)
	refused(t, err, connect.CodeNotFound)
	_, err = s.processes().WaitProcess(t.Context(), connect.NewRequest(&skerryv1.WaitProcessRequest{ProcessId: "none"}))
	refused(t, err, connect.CodeNotFound)
}

func TestInputByOffset(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	m := script("p", "cat")
	m.Stdin = true
	s.detached(m)
	for _, x := range []struct {
		offset uint64
		data   string
		eof    bool
		want   uint64
	}{
		{0, "hello ", false, 6}, {0, "hello ", false, 6}, {3, "lo wor", false, 9}, {9, "ld", true, 11}, {9, "ld", true, 11}, {0, "hello", false, 11},
	} {
		if got, err := s.input("p", x.offset, x.data, x.eof); err != nil || got != x.want {
			t.Fatalf("write %q at %d reaches %d, %v", x.data, x.offset, got, err)
		}
	}
	_, err := s.input("p", 11, "more", false)
	refused(t, err, connect.CodeFailedPrecondition)
	_, err = s.input("p", 12, "", false)
	refused(t, err, connect.CodeInvalidArgument)
	if r, err := s.follow("p", 0, 0); err != nil || string(r.stdout) != "hello world" {
		t.Errorf("it read %q, %v", r.stdout, err)
	}
}

// TestInputGivenUpAtAnOffset cancels a write to a process that does not read, and goes on where it came to.
func TestInputGivenUpAtAnOffset(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	m := script("p", "read x </dev/tty 2>/dev/null; kill -STOP $$; exec cat")
	m.Stdin = true
	s.detached(m)
	const piece = 1 << 20
	data := make([]byte, 3*piece) // more than any pipe takes
	for i := range data {
		data[i] = byte(i >> 8)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var err error
	for at := 0; at < len(data) && err == nil; at += piece {
		_, err = s.processes().WriteProcessInput(ctx, connect.NewRequest(&skerryv1.WriteProcessInputRequest{
			ProcessId: "p", Offset: uint64(at), Data: data[at:][:piece],
		}))
	}
	refused(t, err, connect.CodeDeadlineExceeded)
	if err := s.SignalProcess(t.Context(), "p", 18, false); err != nil {
		t.Fatal(err)
	}
	read := make(chan ran, 1)
	go func() { r, _ := s.follow("p", 0, 0); read <- r }()
	for at := 0; at < len(data); at += piece {
		n, err := s.input("p", uint64(at), string(data[at:][:piece]), at+piece == len(data))
		if err != nil || n < uint64(at+piece) {
			t.Fatalf("again reaches %d, %v", n, err)
		}
	}
	if r := <-read; !bytes.Equal(r.stdout, data) {
		t.Errorf("%d bytes came out, or others", len(r.stdout))
	}
}

func TestTerminalService(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	m := script("p", `echo $TERM; stty size; echo oops >&2; read x; stty size; echo "<$x>"; cat; exit 3`)
	m.Pty = &skerryv1.TerminalSize{Rows: 30, Cols: 100}
	s.detached(m)
	if _, err := s.processes().ResizeTerminal(t.Context(), connect.NewRequest(&skerryv1.ResizeTerminalRequest{
		ProcessId: "p", Size: &skerryv1.TerminalSize{Rows: 31, Cols: 101},
	})); err != nil {
		t.Fatal(err)
	}
	for range 2 { // an end that is repeated is one
		if _, err := s.input("p", 0, "typed\nmore\n", true); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.follow("p", 0, 0)
	said := string(r.stdout)
	for _, want := range []string{"xterm-256color", "31 101", "oops", "<typed>", "more"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in %q", want, said)
		}
	}
	if err != nil || r.exited.GetExitCode() != 3 || len(r.stderr) > 0 {
		t.Errorf("%+v, %v", r.exited, err)
	}
}

func TestListAndWait(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	if _, err := s.StartMain(t.Context(), guest.Main{Argv: []string{"sh", "-c", "read x; exit 4"}}); err != nil {
		t.Fatal(err)
	}
	s.detached(script("b", "exec sleep 1000"))
	if _, err := s.run(script("c", "printf 12345")); err != nil {
		t.Fatal(err)
	}
	res, err := s.processes().ListProcesses(t.Context(), connect.NewRequest(&skerryv1.ListProcessesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, p := range res.Msg.GetProcesses() {
		ids = append(ids, fmt.Sprintf("%s %t %d", p.GetProcessId(), p.GetExited() != nil, p.GetStdoutSize()))
	}
	if want := []string{"main false 0", "b false 0", "c true 5"}; !slices.Equal(ids, want) {
		t.Errorf("processes %q, want %q", ids, want)
	}
	if _, over, err := s.Await(t.Context(), "b", 0); over || err != nil {
		t.Errorf("b has ended: %v", err)
	}
	if _, err := s.input("main", 0, "", true); err != nil {
		t.Fatal(err)
	}
	if end, over, err := s.Await(t.Context(), "main", time.Minute); !over || err != nil || end.Code != 4 {
		t.Errorf("main: %+v, %t, %v", end, over, err)
	}
}

func TestActivity(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	if _, err := s.StartMain(t.Context(), guest.Main{Argv: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	var seen []int
	err := s.WatchActivity(t.Context(), func(n int) error {
		seen = append(seen, n)
		switch len(seen) {
		case 1:
			s.detached(script("a", "exec sleep 1000"))
		case 2:
			s.detached(script("b", "exec sleep 1000"))
		case 3:
			return s.SignalProcess(t.Context(), "a", 9, false)
		case 4:
			return context.Canceled
		}
		return nil
	})
	if want := []int{0, 1, 2, 1}; !slices.Equal(seen, want) {
		t.Errorf("activity %v, want %v: %v", seen, want, err)
	}
}
