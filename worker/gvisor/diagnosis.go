package gvisor

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func panicLog(dir string) string { return filepath.Join(dir, "panic.log") }

// maxDiagnosis bounds what of a log ends up in an error.
const maxDiagnosis = 2000

// fatalLines returns the messages of a log of runsc, or its beginning if it is plain text.
func fatalLines(path string) string {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	var messages []string
	for line := range strings.Lines(string(data)) {
		var entry struct {
			Message string `json:"msg"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message != "" {
			messages = append(messages, entry.Message)
		}
	}
	text := strings.Join(messages, "; ")
	if text == "" {
		text = strings.TrimSpace(string(data))
	}
	return text[:min(len(text), maxDiagnosis)]
}
