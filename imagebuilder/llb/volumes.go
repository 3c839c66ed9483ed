package llb

import (
	"fmt"
	"strconv"

	bk "github.com/moby/buildkit/client/llb"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/ident"
)

// VolumesVariable holds, for the build runtime alone, what it gets the volumes of a step with. The runtime takes it away.
const VolumesVariable = "SKERRY_BUILD_VOLUMES"

// VolumesSecret is the secret that VolumesVariable comes from. Its name is a part of what a step's result is found by, its value is not: so
// steps with other volumes are other steps, whatever the volumes hold.
func VolumesSecret(number int, volumes []recipe.Volume) string {
	text := ""
	for _, v := range volumes {
		text += fmt.Sprintf("%q %q %q %t\n", v.ID, v.Path, v.SubPath, v.ReadOnly)
	}
	return "skerry-volumes-" + strconv.Itoa(number) + "-" + ident.Digest([]byte(text))[len("sha256:"):]
}

// volumeOptions are what a step gets that sees volumes: an empty place for each, which the build runtime puts the volume at. BuildKit takes
// places of mounts out of the result.
func volumeOptions(b stepBuild) []bk.RunOption {
	if len(b.volumes) == 0 {
		return nil
	}
	opts := []bk.RunOption{bk.AddSecret(VolumesVariable, bk.SecretID(VolumesSecret(b.number, b.volumes)), bk.SecretAsEnv(true),
		bk.SecretAsEnvName(VolumesVariable))}
	for _, v := range b.volumes {
		opts = append(opts, bk.AddMount(v.Path, bk.Scratch(), bk.Tmpfs()))
	}
	return opts
}
