package guest_test

import (
	"bytes"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/fault"
	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/worker/guest"
)

// TestOutputIsKept: what nobody reads is there later, up to a bound.
func TestOutputIsKept(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	const n = 5_000_000
	s.detached(script("p", "head -c 5000000 /dev/zero; printf end; head -c 3000000 /dev/zero >&2"))
	if _, over, err := s.Await(t.Context(), "p", time.Minute); !over || err != nil {
		t.Fatalf("it has not ended: %v", err)
	}
	r, err := s.follow("p", 0, 0)
	if err != nil || len(r.stdout) != n+3 || len(r.stderr) != 3_000_000 || r.gaps != 0 || !bytes.HasSuffix(r.stdout, []byte("end")) {
		t.Errorf("%d and %d bytes, %d left out: %v", len(r.stdout), len(r.stderr), r.gaps, err)
	}
	s.detached(script("much", "head -c 100000000 /dev/zero; printf end"))
	if _, over, err := s.Await(t.Context(), "much", time.Minute); !over || err != nil {
		t.Fatalf("it has not ended: %v", err)
	}
	r, err = s.follow("much", 0, 0)
	if err != nil || r.at[0] != 100_000_003 || len(r.stdout) < 64<<20 || r.gaps+uint64(len(r.stdout)) != r.at[0] || !bytes.HasSuffix(r.stdout, []byte("end")) {
		t.Errorf("%d bytes, %d left out: %v", len(r.stdout), r.gaps, err)
	}
}

// TestLinkLost: processes go on without a link, and the next one finds them and all that they wrote.
func TestLinkLost(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	m := script("p", "echo before; read x; echo $x; head -c 3000000 /dev/zero; exec sleep 1000")
	m.Stdin = true
	s.detached(m)
	pid := s.list()[0].GetPid()
	for i := range 3 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if i > 0 { // the first time without a nudge
			s.nudge()
		}
		s.accept()
	}
	if got := s.list()[0].GetPid(); got != pid {
		t.Errorf("the process is %d and was %d", got, pid)
	}
	if _, err := s.input("p", 0, "typed\n", false); err != nil {
		t.Fatal(err)
	}
	stop := bytes.NewBuffer(nil)
	_, err := s.Follow(t.Context(), "p", guest.Offsets{}, func(p guest.Piece) error {
		stop.Write(p.Stdout)
		if stop.Len() == 3_000_000+len("before\ntyped\n") {
			return fault.Precondition
		}
		return nil
	})
	if fault.KindOf(err) != fault.Precondition || !bytes.HasPrefix(stop.Bytes(), []byte("before\ntyped\n\x00")) {
		t.Errorf("follow: %v, %d bytes", err, stop.Len())
	}
}

// TestQuiesce: init answers, hangs up with streams open, and dials at the nudge.
func TestQuiesce(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	s.detached(script("p", "exec sleep 1000"))
	followed := make(chan error, 1)
	go func() {
		_, err := s.follow("p", 0, 0)
		followed <- err
	}()
	if err := s.Quiesce(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := <-followed; err == nil {
		t.Error("the stream ended as if all were well")
	}
	s.nudge()
	s.accept()
	if ps := s.list(); len(ps) != 1 || ps[0].GetExited() != nil {
		t.Errorf("processes %v", ps)
	}
}

func (s *sandbox) list() []*skerryv1.ProcessInfo {
	s.Helper()
	res, err := s.processes().ListProcesses(s.Context(), connect.NewRequest(&skerryv1.ListProcessesRequest{}))
	if err != nil {
		s.Fatal(err)
	}
	return res.Msg.GetProcesses()
}
