package container

import (
	"slices"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	for name, c := range map[string]struct{ in, want []string }{
		"whole lines":     {[]string{"a\nb\n"}, []string{"a\n", "b\n"}},
		"split in two":    {[]string{"a", "b\nc"}, []string{"ab\n", "c"}},
		"empty lines":     {[]string{"\n", "\n\n"}, []string{"\n", "\n", "\n"}},
		"a long line":     {[]string{long + "yz\n"}, []string{long, "yz\n"}},
		"just long":       {[]string{long[1:], "\n", "a\n"}, []string{long[1:] + "\n", "a\n"}},
		"too long by one": {[]string{long, "\n"}, []string{long, "\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lines{}
			var got []string
			write := func(text []byte) { got = append(got, string(text)) }
			for _, in := range c.in {
				l.add([]byte(in), write)
			}
			l.flush(write)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %d pieces of %d bytes", len(got), len(strings.Join(got, "")))
			}
		})
	}
}

func TestDroppedOutputIsNamed(t *testing.T) {
	l := &lines{}
	var got []string
	write := func(text []byte) { got = append(got, string(text)) }
	l.add([]byte("begin"), write)
	l.drop(12, write)
	l.add([]byte("end\n"), write)
	if len(got) != 3 || !strings.Contains(got[1], "12 bytes") {
		t.Errorf("got %q", got)
	}
}
