package agent

import (
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/payload"
)

// exerciser does the same at random on a volume and in a folder of the container's own disk, and compares what comes of each step, and in
// between the whole trees.
const exerciser = `
import os, random, stat, time
A, B = "/data", "/tmp/plain"
def tree(root):
    out = {}
    for d, dirs, files in os.walk(root):
        for n in dirs + files:
            p = os.path.join(d, n); s = os.lstat(p); k = stat.S_IFMT(s.st_mode)
            v = [k, stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid]
            if k == stat.S_IFREG: v += [s.st_nlink, s.st_size, s.st_mtime_ns, open(p, "rb").read()]
            if k == stat.S_IFLNK: v = [k, os.readlink(p)]
            out[os.path.relpath(p, root)] = v
    return out
def f():
    os.mkdir(B); os.chmod(A, 0o755); os.chmod(B, 0o755)
    seed = random.randrange(1 << 32); r = random.Random(seed); print("seed", seed, flush=True)
    name = lambda: "/".join("n%d" % r.randrange(5) for _ in range(r.randint(1, 3)))
    def write(p, off, data, flags):
        fd = os.open(p, flags, 0o640)
        try: n = os.pwrite(fd, data, off)
        finally: os.close(fd)
        os.utime(p, ns=(1, 10**18 + 7)); return n
    def cut(p, n): os.truncate(p, n); os.utime(p, ns=(1, 10**18 + 7))
    def unlinked(p):
        fd = os.open(p, os.O_RDWR)
        try: os.unlink(p); os.pwrite(fd, b"after", 3); os.utime(fd, ns=(1, 10**18 + 7)); return os.pread(fd, 100, 0), os.fstat(fd).st_size
        finally: os.close(fd)
    def link(a, b):
        if os.path.islink(a): return
        os.link(a, b)
    def rename(a, b):
        # Onto folders, the disk of a container is other than Linux (a folder onto itself: not empty); worker/volfs compares that.
        if a != b and not os.path.isdir(b): os.rename(a, b)
    for i in range(3000):
        p, q, data = name(), name(), r.randbytes(r.randint(1, 4000))
        off = r.choice([0, r.randrange(9000), (4 << 20) - 50 + r.randrange(100)])
        op = r.choice([
            lambda d: write(d + p, off, data, os.O_RDWR | os.O_CREAT), lambda d: write(d + p, 0, data, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            lambda d: write(d + p, 0, data, os.O_WRONLY | os.O_CREAT | os.O_EXCL), lambda d: cut(d + p, off), lambda d: os.mkdir(d + p),
            lambda d: os.mkdir(d + p), lambda d: os.rmdir(d + p), lambda d: os.unlink(d + p), lambda d: unlinked(d + p),
            lambda d: rename(d + p, d + q), lambda d: rename(d + p, d + q), lambda d: link(d + p, d + q), lambda d: os.symlink(q, d + p),
            lambda d: os.chmod(d + p, off & 0o777 | 0o700, follow_symlinks=True), lambda d: os.chown(d + p, off & 255, 7, follow_symlinks=False),
            lambda d: open(d + p, "rb").read(), lambda d: sorted(os.listdir(d + p)), lambda d: os.readlink(d + p),
        ])
        got = []
        for d in (A + "/", B + "/"):
            try: got.append(op(d))
            except OSError as e: got.append(e.errno)
        assert got[0] == got[1], (seed, i, p, q, [str(g)[-60:] for g in got])
        if i % 300 == 299:
            a, b = tree(A), tree(B)
            assert a == b, (seed, i, [(k, str(a.get(k))[:80], str(b.get(k))[:80]) for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)][:5])
    print("same", len(tree(A)), flush=True)
`

// In a container, a volume does what a local disk does.
func TestVolumeIsLikeADisk(t *testing.T) {
	v := newVolumeRig(t)
	result, text := v.run(t, v.mounted(exerciser, nil))
	if result.Status != payload.Success || !strings.Contains(text, "same ") {
		t.Errorf("%s\n%+v", text, result.Error)
	}
}
