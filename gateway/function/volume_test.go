package function_test

import (
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/gateway/function"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

func TestVolumesThatNoContainerCanHave(t *testing.T) {
	a, b := ident.New(ident.Volume), ident.New(ident.Volume)
	for name, mounts := range map[string][]function.VolumeMount{
		"root":      {{Path: "/", VolumeID: a}},
		"home":      {{Path: "/root", VolumeID: a}},
		"tmp":       {{Path: "/tmp", VolumeID: a}},
		"relative":  {{Path: "data", VolumeID: a}},
		"not clean": {{Path: "/data/", VolumeID: a}},
		"reserved":  {{Path: "/proc/x", VolumeID: a}},
		"id":        {{Path: "/data", VolumeID: "vo-1"}},
		"twice":     {{Path: "/a", VolumeID: a}, {Path: "/b", VolumeID: a}},
		"same path": {{Path: "/a", VolumeID: a}, {Path: "/a", VolumeID: b}},
		"below":     {{Path: "/a", VolumeID: a}, {Path: "/a/b", VolumeID: b}},
		"above":     {{Path: "/a/b", VolumeID: a}, {Path: "/a", VolumeID: b}},
		"sub path":  {{Path: "/a", VolumeID: a, SubPath: "../x"}},
	} {
		if err := function.CheckVolumes(mounts); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := []function.VolumeMount{{Path: "/root/data", VolumeID: a, SubPath: "/x/y"}, {Path: "/root/database", VolumeID: b, ReadOnly: true}}
	if err := function.CheckVolumes(good); err != nil {
		t.Error(err)
	}
}
