package base

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// suites are the Debian releases by the Python series that they have.
var suites = map[string]string{"3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie"}

// baseEnv is the environment of containers made from a base.
var baseEnv = map[string]string{
	"PATH":             "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG":             "C.UTF-8",
	"PYTHONUNBUFFERED": "1",
}

// DebianConfig describes a Debian.
type DebianConfig struct {
	// Dir is the folder of bases, made if missing. Several processes may share it.
	Dir string
	// Mirror is the package archive; empty: Debian's own, as mmdebstrap knows them.
	Mirror string
	// SecurityMirror is the archive of security updates that goes with Mirror; empty: Mirror with "-security" behind it.
	SecurityMirror string
	// CABundle is the file of certificates to trust for https mirrors; empty: apt's own configuration on the host says.
	CABundle string
}

// Debian makes bases with mmdebstrap from Debian's packages. It needs root and mmdebstrap. It is safe for concurrent use.
type Debian struct {
	config DebianConfig
	shelf  *shelf
}

var _ Provider = (*Debian)(nil)

// NewDebian returns a provider; nothing is made yet.
func NewDebian(c DebianConfig) *Debian {
	if c.SecurityMirror == "" && c.Mirror != "" {
		c.SecurityMirror = strings.TrimSuffix(c.Mirror, "/") + "-security"
	}
	return &Debian{config: c, shelf: newShelf(c.Dir)}
}

// Series are those of Debian's releases, the oldest first.
func (d *Debian) Series() (series []string, hint string) {
	return slices.SortedFunc(maps.Keys(suites), compareSeries), "Debian releases have one Python series each"
}

// Prepare returns the base of a series; see Provider. The lines of a base that several wait for go to the first of them.
func (d *Debian) Prepare(ctx context.Context, series string, progress func(string)) (*Image, error) {
	suite, ok := suites[series]
	if !ok {
		return nil, lacking(d, series)
	}
	return d.suite(ctx, suite, series, progress)
}

// suite returns the base of a release.
func (d *Debian) suite(ctx context.Context, suite, series string, progress func(string)) (*Image, error) {
	m := maker{config: d.config, suite: suite, progress: progress}
	return d.shelf.prepare(ctx, shelfName(suite, series), progress, func(ctx context.Context, l layoutWriter) (record, error) {
		layer, err := m.bootstrap(ctx, l)
		if err != nil {
			return record{}, err
		}
		var env []string
		for _, k := range slices.Sorted(maps.Keys(baseEnv)) {
			env = append(env, k+"="+baseEnv[k])
		}
		digest, err := l.finish(layer, env)
		return record{Name: "debian " + suite + ", python " + series, Digest: digest, Env: baseEnv, Made: time.Now().Unix()}, err
	})
}

func shelfName(suite, series string) string { return suite + "-python" + series + "-r" + revision }

// maker makes one base.
type maker struct {
	config   DebianConfig
	suite    string
	progress func(string)
}
