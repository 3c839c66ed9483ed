package jetstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/jetstream/flowtest"
	"github.com/skerry-dev/skerry/gateway/logs"
)

func TestFrames(t *testing.T) {
	l := open(t, flowtest.Config(t, t.TempDir())).Logs()
	large := strings.Repeat("x", 400<<10)
	var frame []logs.Entry
	for range 3 {
		frame = append(frame, entry("ap-1", "", "sb-1", time.Now(), large))
	}
	if m, err := l.Stored(t.Context(), "ap-1", "sb-1"); err != nil || m != (logs.Mark{}) {
		t.Errorf("before the first: %+v, %v", m, err)
	}
	if err := l.AppendFrame(t.Context(), frame[:1], logs.Mark{Sequence: 6}); err != nil {
		t.Fatal(err)
	}
	if m, err := l.Stored(t.Context(), "ap-1", "sb-1"); err != nil || m != (logs.Mark{Sequence: 6, Parts: 1, Whole: true}) {
		t.Errorf("%+v, %v", m, err)
	}
	// One that has come before, but for its last part.
	if err := l.AppendFrame(t.Context(), frame, logs.Mark{Sequence: 7, Parts: 2}); err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, l, logs.Selection{AppID: "ap-1"})); n != 2 {
		t.Errorf("%d entries", n)
	}
	if m, err := l.Stored(t.Context(), "ap-1", "sb-1"); err != nil || m != (logs.Mark{Sequence: 7, Parts: 3, Whole: true}) {
		t.Errorf("%+v, %v", m, err)
	}
}
