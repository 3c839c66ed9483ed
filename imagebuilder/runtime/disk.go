package runtime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// minFree is how much of the disk a step has to leave free, in bytes: what is left is everybody's on the host.
const minFree = 1 << 30

// disk knows what a step has written. Measuring a tree costs as much as the tree has files; but a step can't hold more than it has written
// or than the disk has lost meanwhile. So its folders are measured only once either is as much as it had left, and again once that is used
// up.
type disk struct {
	limit int64
	dirs  []string
	base  int64 // what was in the folders when the step began

	room    int64 // that was left when the folders were measured last
	written int64 // by then
	free    int64 // then
}

// newDisk prepares to watch the folders that a container may write to.
func newDisk(spec *specs.Spec, limit int64) (*disk, error) {
	d := &disk{limit: limit, room: limit}
	if spec.Root == nil {
		return nil, errors.New("bundle: its container has no root")
	}
	uppers, err := upperFolders()
	if err != nil {
		return nil, err
	}
	add := func(path string) {
		if upper, ok := uppers[path]; ok {
			path = upper
		}
		d.dirs = append(d.dirs, path)
	}
	add(spec.Root.Path)
	for _, m := range spec.Mounts {
		info, err := os.Stat(m.Source)
		if m.Type != "bind" && m.Type != "rbind" || err != nil || !info.IsDir() || hasOption(m, "ro") {
			continue
		}
		add(m.Source)
	}
	if d.base, err = d.measure(); err != nil {
		return nil, err
	}
	d.free, err = freeBytes(d.dirs[0])
	return d, err
}

func hasOption(m specs.Mount, option string) bool {
	for _, o := range m.Options {
		if o == option {
			return true
		}
	}
	return false
}

// look says that too much was written, if so. Pids are the processes of the step.
func (d *disk) look(pids []int) (string, error) {
	free, err := freeBytes(d.dirs[0])
	if err != nil {
		return "", err
	}
	if free < minFree && d.free > free {
		return diskFull, nil
	}
	if d.limit == 0 {
		return "", nil
	}
	written := writtenBy(pids)
	if written-d.written < d.room && d.free-free < d.room {
		return "", nil
	}
	now, err := d.measure()
	if err != nil {
		return "", err
	}
	if now-d.base > d.limit {
		return overDisk(Limits{DiskBytes: d.limit}), nil
	}
	d.room, d.written, d.free = max(d.limit-(now-d.base), d.limit/100), written, free
	return "", nil
}

// measure adds up what the folders occupy on the disk; a file with several names counts once.
func (d *disk) measure() (int64, error) {
	var sum int64
	seen := map[uint64]bool{}
	for _, dir := range d.dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			if err != nil {
				return err
			}
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return nil //nolint:nilerr // removed meanwhile
			}
			if st.Nlink > 1 && !e.IsDir() {
				if seen[st.Ino] {
					return nil
				}
				seen[st.Ino] = true
			}
			sum += st.Blocks * 512
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("disk of the step: %w", err)
		}
	}
	return sum, nil
}

// writtenBy adds up what processes have written to disks. One that has ended counts no more.
func writtenBy(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "io"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				continue
			}
			switch name {
			case "write_bytes":
				sum += n
			case "cancelled_write_bytes":
				sum -= n
			}
		}
	}
	return sum
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("disk of the step: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil //nolint:gosec // far smaller
}

// upperFolders gives the folder that takes the writes of each overlay, by where that is mounted.
func upperFolders() (map[string]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20) // one with many layers is long
	for lines.Scan() {
		front, back, _ := strings.Cut(lines.Text(), " - ")
		place, kind := strings.Fields(front), strings.Fields(back)
		if len(place) < 5 || len(kind) < 3 || kind[0] != "overlay" {
			continue
		}
		for option := range strings.SplitSeq(kind[2], ",") {
			if upper, ok := strings.CutPrefix(option, "upperdir="); ok {
				out[place[4]] = upper
			}
		}
	}
	return out, lines.Err()
}
