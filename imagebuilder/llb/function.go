package llb

import (
	"strconv"

	bk "github.com/moby/buildkit/client/llb"

	"github.com/skerry-dev/skerry/imagebuilder/recipe"
	"github.com/skerry-dev/skerry/internal/fault"
)

// runFunction adds a step that runs a Python function with our runtime. What is run comes as secrets, which are no part of the cache key:
// the definition's digest says whether to run again, not what the function's module has beside it.
func (p *planner) runFunction(a *recipe.RunFunction, b stepBuild) error {
	if p.options.RuntimeID == "" {
		return fault.New(fault.Precondition, "build function %s: this builder was started without what runs functions", a.Name)
	}
	command := `exec "$(command -v python || command -v python3)" ` + guestMount + "/skerry/_runner/build_function.py " +
		strconv.FormatUint(uint64(a.Timeout), 10)
	extra := []bk.RunOption{
		bk.AddMount(guestMount, bk.Local(Runtime, bk.SharedKeyHint(p.options.RuntimeID), bk.LocalUniqueID(p.options.RuntimeID),
			bk.WithCustomName("read what runs functions")), bk.Readonly),
		bk.AddMount(sourceMount, bk.Scratch(), bk.Tmpfs()),
		bk.AddEnv("SKERRY_IS_REMOTE", "1"), bk.AddEnv("SKERRY_BUILD_FUNCTION", a.Definition),
	}
	for i := range p.options.Parts[a.Payload] {
		path := partsMount + strconv.Itoa(i)
		command += " " + path
		extra = append(extra, bk.AddSecret(path, bk.SecretID(PartSecret(b.number, i)), bk.SecretFileOpt(0, 0, 0o444)))
	}
	p.run(short("run function "+a.Name), command, b, extra...)
	return nil
}
