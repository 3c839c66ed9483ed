package server_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildkitOfTheOperator has a builder use a buildkitd that it did not start: it says that nothing of its own holds there.
func TestBuildkitOfTheOperator(t *testing.T) {
	c := config(t)
	_, b := start(t, c)
	theirs := another(t, c)
	theirs.Buildkit, theirs.Buildkitd = "unix://"+filepath.Join(c.RunDir, "buildkit", "buildkitd.sock"), ""
	theirs.BaseDir, theirs.RunDir = filepath.Join(c.DataDir, "bases"), t.TempDir()
	logs := &syncWriter{w: &bytes.Buffer{}}
	other := startOn(t, theirs, b, logs)
	serves(t, other)
	if !strings.Contains(logs.text(), "build steps run in a buildkitd that is not ours") {
		t.Errorf("the log does not say whose rules hold:\n%s", logs.text())
	}
}
