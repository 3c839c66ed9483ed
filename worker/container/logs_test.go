package container

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
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
			var got []string
			l := &lines{write: func(e LogEntry) { got = append(got, string(e.Text)) }}
			for _, in := range c.in {
				l.add([]byte(in))
			}
			l.end()
			if !slices.Equal(got, c.want) {
				t.Errorf("got %d pieces of %d bytes", len(got), len(strings.Join(got, "")))
			}
		})
	}
}

func TestDroppedOutputIsNamed(t *testing.T) {
	var got []string
	l := &lines{write: func(e LogEntry) { got = append(got, string(e.Text)) }}
	l.add([]byte("begin"))
	l.drop(12)
	l.add([]byte("end\n"))
	if len(got) != 3 || !strings.Contains(got[1], "12 bytes") {
		t.Errorf("got %q", got)
	}
}

func TestMarks(t *testing.T) {
	const a, b, none = "\x1b]7770;fc-a;0\a", "\x1b]7770;fc-b;17\a", "\x1b]7770;;\a"
	for name, c := range map[string]struct{ in, want []string }{
		"in front of lines":    {[]string{a + "one\n" + b + "two\n"}, []string{"fc-a 0: one\n", "fc-b 17: two\n"}},
		"split everywhere":     {strings.Split(a+"x\n"+none+"y\n", ""), []string{"fc-a 0: x\n", " 0: y\n"}},
		"within a line":        {[]string{a + "one" + b + "two\n"}, []string{"fc-a 0: one", "fc-b 17: two\n"}},
		"the same again":       {[]string{a + "one" + a + " line\n"}, []string{"fc-a 0: one line\n"}},
		"colours are text":     {[]string{"\x1b[31mred\x1b[0m\n"}, []string{" 0: \x1b[31mred\x1b[0m\n"}},
		"other numbers":        {[]string{"\x1b]7779;x;1\ax\n"}, []string{" 0: \x1b]7779;x;1\ax\n"}},
		"no index":             {[]string{"\x1b]7770;fc-a;z\ax\n"}, []string{" 0: \x1b]7770;fc-a;z\ax\n"}},
		"too long":             {[]string{"\x1b]7770;" + strings.Repeat("z", 200) + "\n"}, []string{" 0: \x1b]7770;" + strings.Repeat("z", 200) + "\n"}},
		"never ended":          {[]string{a + "x\n\x1b]7770;fc"}, []string{"fc-a 0: x\n", "fc-a 0: \x1b]7770;fc"}},
		"one begun within one": {[]string{"\x1b]77\x1b]7770;fc-a;1\ax\n"}, []string{" 0: \x1b]77", "fc-a 1: x\n"}},
		"a terminal is wanted": {[]string{a + "x\x1b]7771;/tmp/s\ay\n"}, []string{"fc-a 0: x", "terminal /tmp/s", "fc-a 0: y\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			l := &lines{write: func(e LogEntry) {
				if e.WantsTerminal != "" {
					got = append(got, "terminal "+e.WantsTerminal)
					return
				}
				got = append(got, fmt.Sprintf("%s %d: %s", e.Input.CallID, e.Input.Index, e.Text))
			}}
			for _, in := range c.in {
				l.add([]byte(in))
			}
			l.end()
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestLongLinesAreCutBetweenCharacters(t *testing.T) {
	text := strings.Repeat("a", MaxLine-1) + strings.Repeat("é", MaxLine) + "\n"
	var got strings.Builder
	l := &lines{write: func(e LogEntry) {
		if !utf8.Valid(e.Text) || len(e.Text) > MaxLine {
			t.Errorf("a piece of %d bytes is no text", len(e.Text))
		}
		got.Write(e.Text)
	}}
	l.add([]byte(text))
	l.end()
	if got.String() != text {
		t.Errorf("%d bytes became %d", len(text), got.Len())
	}
}
