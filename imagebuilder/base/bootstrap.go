package base

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// packages are what every base has beyond the minimum.
var packages = []string{"python3", "python3-pip", "python3-venv", "ca-certificates"}

// revision changes with what makes a base, so that bases of an older one are made again.
const revision = "2"

// setup is run when all packages are there, with the root as $1: a python that pip may install into, and an apt that keeps no caches. Nothing
// is left that the same packages would not make again, so that hosts which have the same have the same base, and share what is made on it.
// It refuses to run without a root, and in none it wasn't given: it writes into /etc.
const setup = `set -eu
root="${1:?}"
test "$(realpath "$root")" != /
ln -sf python3 "$root/usr/bin/python"
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
printf '%s\n' 'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' 'Acquire::Languages "none";' \
  'APT::Keep-Downloaded-Packages "false";' > "$root/etc/apt/apt.conf.d/90skerry"
rm -rf "${root:?}"/var/log/* "${root:?}"/var/cache/ldconfig/* "${root:?}"/var/cache/apt/*.bin
echo build > "$root/etc/hostname"
: > "$root/etc/resolv.conf"
`

// stopTimeout is how long mmdebstrap may take to end when it is given up.
const stopTimeout = 10 * time.Second

// bootstrap runs mmdebstrap and stores the tar that it writes.
func (m maker) bootstrap(ctx context.Context, l layoutWriter) (layer descriptor, err error) {
	m.progress("making the base from debian " + m.suite + ", once; this takes about a minute")
	// Below the layout's own folder, which the next maker empties if this one is killed.
	tmp := filepath.Join(l.dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return descriptor{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	cmd := exec.CommandContext(ctx, "mmdebstrap", m.args()...) //nolint:gosec // our own arguments
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=0", "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	out, err := cmd.StdoutPipe()
	if err != nil {
		return descriptor{}, err
	}
	messages, err := cmd.StderrPipe()
	if err != nil {
		return descriptor{}, err
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = fault.New(fault.Precondition, "mmdebstrap is not installed; run `apt-get install mmdebstrap`")
		}
		return descriptor{}, err
	}
	t := tail{progress: m.progress}
	read := make(chan error, 1)
	go func() { read <- t.read(messages) }()
	layer, err = l.layer(out)
	err = errors.Join(err, <-read)
	if waitErr := cmd.Wait(); waitErr != nil {
		return descriptor{}, fmt.Errorf("mmdebstrap: %w; its last lines: %s", waitErr, strings.Join(t.last, "; "))
	}
	return layer, err
}

func (m maker) args() []string {
	c := m.config
	args := []string{
		"--variant=minbase", "--mode=root", "--format=tar", "--include=" + strings.Join(packages, ","),
		// The folder of bases may be closed to the user that apt downloads as; packages are signed.
		`--aptopt=APT::Sandbox::User "root"`, `--aptopt=APT::Install-Recommends "false"`, "--customize-hook=" + setup,
	}
	if c.CABundle != "" && (strings.HasPrefix(c.Mirror, "https:") || strings.HasPrefix(c.SecurityMirror, "https:")) {
		args = append(args, `--aptopt=Acquire::https::CaInfo "`+c.CABundle+`"`)
	}
	args = append(args, m.suite, "-")
	if c.Mirror == "" {
		return args // mmdebstrap knows Debian's own archives, those of updates and security among them
	}
	return append(args,
		fmt.Sprintf("deb %s %s main", c.Mirror, m.suite),
		fmt.Sprintf("deb %s %s-updates main", c.Mirror, m.suite),
		fmt.Sprintf("deb %s %s-security main", c.SecurityMirror, m.suite))
}

// tail hands lines on and keeps the last.
type tail struct {
	progress func(string)
	last     []string
}

func (t *tail) read(r io.Reader) error {
	const kept = 20
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := strings.ToValidUTF8(s.Text(), "\uFFFD")
		if t.last = append(t.last, line); len(t.last) > kept {
			t.last = t.last[1:]
		}
		t.progress(line)
	}
	return s.Err()
}
