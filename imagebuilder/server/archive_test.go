package server_test

import (
	"archive/zip"
	"bytes"
	"os"
	"strings"
	"testing"
)

// functionArchive packs a module m with a function f, as the SDK does, to be called with a text.
func functionArchive(t *testing.T, source, argument string) string {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range map[string]string{
		"call.json":        `{"version": 1, "module": "m", "qualname": "f", "modal_names": false}`,
		"src/m.py":         source,
		"arguments.pickle": "(((V" + argument + "\nt(dt.",
	} {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// contains says whether a file has a text.
func contains(t *testing.T, path, text string) bool {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(data), text)
}
