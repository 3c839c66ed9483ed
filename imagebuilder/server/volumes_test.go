package server

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/imagebuilder/llb"
	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/imagebuilder/stepvolume"
	"github.com/skerry-dev/skerry/internal/fault"
)

func TestVolumesOfStepsAreAdmitted(t *testing.T) {
	volume := recipe.Volume{ID: "vo-" + strings.Repeat("1", 22), Path: "/data"}
	r := recipe.Recipe{Steps: []recipe.Step{
		{Action: &recipe.RunCommands{Commands: []string{"true"}}, Number: 1},
		{Action: &recipe.RunCommands{Commands: []string{"true"}}, Number: 2, Volumes: []recipe.Volume{volume}},
	}}
	for want, c := range map[string]Config{"no FUSE": {}, "buildkitd of its operator's": {Buildkit: "unix:///x"}} {
		_, err := (&Server{config: c}).admit(r, map[string][]byte{})
		if !errors.Is(err, fault.Precondition) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	socket := t.TempDir() + "/none"
	s := &Server{desk: stepvolume.NewDesk(socket, nil, slog.New(slog.DiscardHandler))}
	secrets := map[string][]byte{}
	revoke, err := s.admit(r, secrets)
	if err != nil {
		t.Fatal(err)
	}
	ticket := secrets[llb.VolumesSecret(2, r.Steps[1].Volumes)]
	if len(secrets) != 1 || len(ticket) < 32 {
		t.Errorf("secrets: %q", secrets)
	}
	revoke()
	if _, err := stepvolume.Ask(context.Background(), socket, string(ticket)); !errors.Is(err, fault.Unavailable) {
		t.Errorf("nobody serves: %v", err)
	}
}
