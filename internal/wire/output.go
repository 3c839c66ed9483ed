package wire

import (
	"bytes"
	"encoding/json"

	"github.com/skerry-dev/skerry/internal/payload"
)

// ParseOutput reads the meta of an Output. Tens of thousands of them come a second, nearly all in the form that our runner gives to a
// result that is there, which is read without the machinery of JSON; every other is read with it.
func ParseOutput(meta []byte) (OutputMeta, error) {
	if m, ok := plainOutput(meta); ok {
		return m, nil
	}
	var m OutputMeta
	err := json.Unmarshal(meta, &m)
	return m, err
}

// plainOutput reads {"call":"fc-1","index":2,"status":1,"elapsed_us":3,"format":1}, and nothing else.
func plainOutput(meta []byte) (m OutputMeta, ok bool) {
	s := scan{rest: meta}
	s.skip(`{"call":"`)
	m.Call = string(s.word())
	s.skip(`","index":`)
	index := s.number(1<<32 - 1)
	s.skip(`,"status":`)
	status := s.number(1<<8 - 1)
	s.skip(`,"elapsed_us":`)
	m.ElapsedUS = s.number(1<<53 - 1)
	s.skip(`,"format":`)
	format := s.number(1<<8 - 1)
	s.skip(`}`)
	m.Index, m.Status, m.Format = uint32(index), payload.Status(status), payload.Format(format) //nolint:gosec // bounded above
	return m, !s.failed && len(s.rest) == 0
}

// scan takes bytes from the front as long as they are what is wanted.
type scan struct {
	rest   []byte
	failed bool
}

func (s *scan) skip(want string) {
	rest, ok := bytes.CutPrefix(s.rest, []byte(want))
	s.rest, s.failed = rest, s.failed || !ok
}

// word takes letters, digits and hyphens, which mean themselves in JSON; at least one.
func (s *scan) word() []byte {
	n := 0
	for n < len(s.rest) && (isDigit(s.rest[n]) || s.rest[n] == '-' || s.rest[n]|0x20 >= 'a' && s.rest[n]|0x20 <= 'z') {
		n++
	}
	word := s.rest[:n]
	s.rest, s.failed = s.rest[n:], s.failed || n == 0
	return word
}

// number takes a number in JSON's form, of at most most.
func (s *scan) number(most uint64) uint64 {
	n, value := 0, uint64(0)
	for n < len(s.rest) && isDigit(s.rest[n]) && n < 16 {
		value = value*10 + uint64(s.rest[n]-'0')
		n++
	}
	s.failed = s.failed || n == 0 || n > 1 && s.rest[0] == '0' || value > most
	s.rest = s.rest[n:]
	return value
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
