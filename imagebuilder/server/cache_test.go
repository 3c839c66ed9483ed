package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/imagebuilder/server"
)

// another is the configuration of a builder that has nothing in common with others of this host but the bases.
func another(t *testing.T, c server.Config) server.Config {
	t.Helper()
	c.BaseDir = filepath.Join(c.DataDir, "bases")
	c.DataDir = t.TempDir()
	sum := sha256.Sum256([]byte(c.DataDir))
	c.Instance = hex.EncodeToString(sum[:3])
	return c
}

// TestBuildersShareResults has one builder make an image and another one that begins with the same steps.
func TestBuildersShareResults(t *testing.T) {
	host := serveRegistry(t, false)
	push(t, host+"/team/app:1", tinyImage(t, "text"))
	for what, cache := range map[string]string{"registry": "type=registry,ref=" + host + "/skerry/cache", "folder": "type=local,dir=" + t.TempDir()} {
		t.Run(what, func(t *testing.T) {
			request := func(commands ...string) build.Request {
				return build.Request{Recipe: recipe.Recipe{
					Base: recipe.Base{From: &recipe.Registry{Reference: host + "/team/app:1"}}, Steps: []recipe.Step{{Action: &recipe.RunCommands{Commands: commands}}},
				}}
			}
			unique := "echo made=$(cat /proc/sys/kernel/random/uuid) > /" + what + "; cat /" + what
			first, second := another(t, config(t)), another(t, config(t))
			for _, c := range []*server.Config{&first, &second} {
				c.PlainRegistries, c.SharedCache = []string{host}, cache
			}
			a, _ := start(t, first)
			made := &recorder{t: t}
			if _, err := a.Build(t.Context(), request(unique), made); err != nil {
				t.Fatal(err)
			}
			longer := request(unique)
			longer.Recipe.Steps = append(longer.Recipe.Steps, recipe.Step{Action: &recipe.RunCommands{Commands: []string{"cat /" + what}}})
			b, _ := start(t, second)
			rec := &recorder{t: t}
			if _, err := b.Build(t.Context(), longer, rec); err != nil {
				t.Fatal(err)
			}
			// Run again, the step would have made and said something else.
			if len(made.lines) != 1 || !slices.Equal(rec.lines, made.lines) {
				t.Errorf("the step was run again: said %q, first %q", rec.lines, made.lines)
			}
		})
	}
}

func TestSharedCachesAreChecked(t *testing.T) {
	for text, says := range map[string]string{
		"type=registry": "ref is missing", "ref=x": `type ""`, "type=ftp,a=b": `type "ftp"`, "type": "name=value", "type=s3,bucket=b": "region is missing",
	} {
		c := config(t)
		c.SharedCache = text
		if _, err := server.New(c, blobs{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}
