package wire

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseOutput: what is read without JSON's machinery is what that reads.
func FuzzParseOutput(f *testing.F) {
	for _, s := range []string{
		`{"call":"fc-1aZ","index":2,"status":1,"elapsed_us":3,"format":1}`,
		`{"call":"fc-1","index":4294967295,"status":255,"elapsed_us":9007199254740991,"format":0}`,
		`{"call":"fc-1","index":4294967296,"status":1,"elapsed_us":3,"format":1}`,
		`{"call":"fc-1","index":2,"status":256,"elapsed_us":3,"format":1}`,
		`{"call":"fc-1","index":02,"status":1,"elapsed_us":3,"format":1}`,
		`{"call":"fc-1","index":,"status":1,"elapsed_us":3,"format":1}`,
		`{"call":"","index":2,"status":1,"elapsed_us":3,"format":1}`,
		`{"call":"fc-\n","index":2,"status":1,"elapsed_us":3,"format":1}`,
		`{"call":"fc-1","index":2,"status":1,"elapsed_us":99999999999999999999,"format":1}`,
		`{"call":"fc-1","index":2,"status":1,"elapsed_us":3,"format":1} `,
		`{"call":"fc-1","index":2,"status":1,"elapsed_us":3,"format":1,"items":4}`,
		`{"call":"fc-1","index":2,"status":2,"error":{"type":"T","message":"m","traceback":""}}`,
		`{`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, meta []byte) {
		var want OutputMeta
		wantErr := json.Unmarshal(meta, &want)
		if quick, ok := plainOutput(meta); ok {
			if wantErr != nil {
				t.Fatalf("%q: read as %+v, JSON says %v", meta, quick, wantErr)
			}
			if d := cmp.Diff(want, quick); d != "" {
				t.Errorf("%q: %s", meta, d)
			}
		}
		if got, err := ParseOutput(meta); (err != nil) != (wantErr != nil) || err == nil && cmp.Diff(want, got) != "" {
			t.Errorf("%q: %+v, %v; want %+v, %v", meta, got, err, want, wantErr)
		}
	})
}

func TestPlainOutputIsTheRunners(t *testing.T) {
	if m, ok := plainOutput([]byte(`{"call":"fc-1aZ","index":2,"status":1,"elapsed_us":3,"format":1}`)); !ok || m.Index != 2 {
		t.Errorf("%+v, %v", m, ok)
	}
}
