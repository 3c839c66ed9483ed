package lazyfs

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/internal/cas"
)

// profiles is a folder with a file per image: the chunks that its starts have read first, a number a line.
type profiles struct{ dir string }

func (p profiles) path(image string) string { return filepath.Join(p.dir, image[len("sha256:"):]) }

// load returns the chunks of a profile; none is an empty one.
func (p profiles) load(image string, m *cas.Manifest) ([]int, error) {
	f, err := os.Open(p.path(image))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []int
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil || n < 0 || n >= len(m.Chunks) {
			return nil, errors.Join(fmt.Errorf("profile of image %s: line %.20q", image, lines.Text()), f.Close())
		}
		list = append(list, n)
	}
	return list, errors.Join(lines.Err(), f.Close())
}

// save writes a profile, whole or not at all.
func (p profiles) save(image string, list []int) error {
	var b strings.Builder
	for _, n := range list {
		b.WriteString(strconv.Itoa(n) + "\n")
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(p.dir, "tmp-")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(b.String())
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), p.path(image))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// merge returns what both lists have, those of first in front; grown says whether second lacks any of first.
func merge(first, second []int) (all []int, grown bool) {
	have := make(map[int]bool, len(second))
	for _, n := range second {
		have[n] = true
	}
	seen := make(map[int]bool, len(first))
	for _, n := range first {
		if !seen[n] {
			all = append(all, n)
		}
		seen[n] = true
		grown = grown || !have[n]
	}
	for _, n := range second {
		if !seen[n] {
			all = append(all, n)
		}
	}
	return all, grown
}
