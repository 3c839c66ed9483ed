package process

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// maxDatabase is how much of /etc/passwd and /etc/group is read, in bytes.
const maxDatabase = 4 << 20

// Paths of the container's user databases.
const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// account is a user of the container.
type account struct {
	name, home string
	uid, gid   uint32
	groups     []uint32
}

// lookupUser finds a user by name or number. A number that nobody has is a user without a name. Errors: fault.NotFound.
func lookupUser(user string) (account, error) {
	number, numeric := parseID(user)
	var found account
	have := false
	err := records(passwdFile, 7, func(f []string) bool {
		uid, uidOK := parseID(f[2])
		gid, gidOK := parseID(f[3])
		if !uidOK || !gidOK || f[0] != user && (!numeric || uid != number) {
			return true
		}
		found, have = account{name: f[0], home: f[5], uid: uid, gid: gid}, true
		return false
	})
	switch {
	case !have && numeric:
		return account{home: "/", uid: number, gid: number}, nil
	case err != nil:
		return account{}, fault.New(fault.NotFound, "user %q: %w", user, err)
	case !have:
		return account{}, fault.New(fault.NotFound, "user %q: not in %s", user, passwdFile)
	}
	// Without /etc/group there are no further groups.
	_ = records(groupFile, 4, func(f []string) bool {
		gid, ok := parseID(f[2])
		for _, member := range strings.Split(f[3], ",") {
			if ok && member == found.name {
				found.groups = append(found.groups, gid)
			}
		}
		return len(found.groups) < 64 // what every system allows
	})
	return found, nil
}

func (a account) credential() *syscall.Credential {
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
}

func parseID(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil //nolint:gosec // parsed as 32 bits
}

// records calls f with the fields of each line that has as many, until it returns false.
func records(path string, fields int, f func([]string) bool) error {
	data, err := readDatabase(path)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if parts := strings.Split(lines.Text(), ":"); len(parts) >= fields && !f(parts) {
			return nil
		}
	}
	return lines.Err()
}

// readDatabase reads a file that users of the container may have replaced by anything.
func readDatabase(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fault.New(fault.Precondition, "%s is no file", path)
	}
	return io.ReadAll(io.LimitReader(file, maxDatabase))
}
