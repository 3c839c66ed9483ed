// Package account reads a container's /etc/passwd and /etc/group, which its users may have replaced by anything.
package account

import (
	"bufio"
	"bytes"
	"errors"
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

// User is a user of the container.
type User struct {
	Name, Home string // Name is empty for a number that nobody has
	UID, GID   uint32
	Groups     []uint32 // besides GID
}

// Lookup finds a user by name or number. A number that nobody has is a user without a name. Errors: fault.NotFound.
func Lookup(user string) (User, error) {
	number, numeric := parseID(user)
	var found User
	have := false
	err := records(passwdFile, 7, func(f []string) bool {
		uid, uidOK := parseID(f[2])
		gid, gidOK := parseID(f[3])
		if !uidOK || !gidOK || f[0] != user && (!numeric || uid != number) {
			return true
		}
		found, have = User{Name: f[0], Home: f[5], UID: uid, GID: gid}, true
		return false
	})
	switch {
	case !have && numeric:
		return User{Home: "/", UID: number, GID: number}, nil
	case err != nil:
		return User{}, fault.New(fault.NotFound, "user %q: %w", user, err)
	case !have:
		return User{}, fault.New(fault.NotFound, "user %q: not in %s", user, passwdFile)
	}
	// Without /etc/group there are no further groups.
	_ = records(groupFile, 4, func(f []string) bool {
		gid, ok := parseID(f[2])
		for _, member := range strings.Split(f[3], ",") {
			if ok && member == found.Name {
				found.Groups = append(found.Groups, gid)
			}
		}
		return len(found.Groups) < maxGroups
	})
	return found, nil
}

// maxGroups is how many groups every system allows a process.
const maxGroups = 64

// LookupGroup finds a group's number by name or number. Errors: fault.NotFound.
func LookupGroup(group string) (uint32, error) {
	if number, ok := parseID(group); ok {
		return number, nil
	}
	var found uint32
	have := false
	err := records(groupFile, 4, func(f []string) bool {
		gid, ok := parseID(f[2])
		if ok && f[0] == group {
			found, have = gid, true
		}
		return !have
	})
	if !have {
		return 0, errors.Join(fault.New(fault.NotFound, "group %q: not in %s", group, groupFile), err)
	}
	return found, nil
}

// Credential is what a process of the user has.
func (u User) Credential() *syscall.Credential {
	return &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
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
