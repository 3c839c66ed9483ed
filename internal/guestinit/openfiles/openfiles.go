// Package openfiles says what the processes of a container have open.
package openfiles

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Bounds of what is told.
const (
	maxFiles   = 16
	maxCommand = 200
)

// File is something that a process has open: a descriptor, a memory map, or its working directory.
type File struct {
	Path             string
	PID              int
	Command          string
	WorkingDirectory bool
}

// Below returns what processes have open at or below some paths, as proc, the folder of a proc file system, says: at most 16. A process that ends
// meanwhile has nothing open.
func Below(proc string, paths []string) ([]File, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var found []File
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		found = append(found, of(filepath.Join(proc, e.Name()), pid, paths)...)
		if len(found) >= maxFiles {
			return found[:maxFiles], nil
		}
	}
	return found, nil
}

// of returns what one process has open.
func of(dir string, pid int, paths []string) (found []File) {
	add := func(path string, cwd bool) {
		path = strings.TrimSuffix(path, " (deleted)")
		if len(found) < maxFiles && within(path, paths) {
			found = append(found, File{Path: path, PID: pid, WorkingDirectory: cwd})
		}
	}
	for name, cwd := range map[string]bool{"cwd": true, "root": true, "exe": false} {
		if path, err := os.Readlink(filepath.Join(dir, name)); err == nil {
			add(path, cwd)
		}
	}
	fds, _ := os.ReadDir(filepath.Join(dir, "fd")) // it has ended
	for _, fd := range fds {
		if path, err := os.Readlink(filepath.Join(dir, "fd", fd.Name())); err == nil {
			add(path, false)
		}
	}
	maps, _ := os.ReadFile(filepath.Join(dir, "maps")) // likewise
	seen := map[string]bool{}
	for line := range strings.Lines(string(maps)) {
		if i := strings.IndexByte(line, '/'); i > 0 {
			if path := strings.TrimSuffix(line[i:], "\n"); !seen[path] {
				seen[path] = true
				add(path, false)
			}
		}
	}
	if len(found) > 0 {
		command := command(dir)
		for i := range found {
			found[i].Command = command
		}
	}
	return found
}

func within(path string, paths []string) bool {
	for _, p := range paths {
		if path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}

func command(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // it has ended
	text = bytes.ReplaceAll(bytes.TrimRight(text, "\x00"), []byte{0}, []byte{' '})
	return strings.ToValidUTF8(string(text[:min(len(text), maxCommand)]), "?")
}
