package pidfd

import (
	"os/exec"
	"sync"
	"testing"
)

// TestKillMeetsEnd signals processes at the moment of their end, from several sides.
func TestKillMeetsEnd(t *testing.T) {
	for range 200 {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p, err := Watch(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					if err := p.Kill(); err != nil {
						t.Errorf("kill: %v", err)
					}
					select {
					case <-p.done:
						return
					default:
					}
				}
			})
		}
		_ = cmd.Wait() // killed, as it should
		wg.Wait()
		if err := p.Kill(); err != nil {
			t.Errorf("kill after the end: %v", err)
		}
	}
}

func TestWatchOfNobody(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	p, err := Watch(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
}
