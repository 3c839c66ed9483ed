package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"

	"github.com/skerry-dev/skerry/gateway/identity"
	"github.com/skerry-dev/skerry/internal/fault"
)

// profilePath is the clients' settings file.
func profilePath() (string, error) {
	if p := os.Getenv("SKERRY_CONFIG_PATH"); p != "" {
		return p, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fault.New(fault.Precondition, "home folder: %w; set HOME or SKERRY_CONFIG_PATH, or start with --write-profile=", err)
	}
	return filepath.Join(home, ".skerry.toml"), nil
}

// writeProfile puts a gateway and a token into a profile of the clients' settings file, keeps all else in it, and makes the profile the
// active one where none is. The file is the user's alone (mode 0600).
func writeProfile(path, profile, serverURL string, c identity.Credential) error {
	profiles := map[string]any{}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("client settings: %w", err)
	}
	if err := toml.Unmarshal(text, &profiles); err != nil {
		return fault.New(fault.Invalid, "client settings %q: %w; mend or remove the file", path, err)
	}
	active := false
	for name, p := range profiles {
		table, ok := p.(map[string]any)
		if !ok {
			return fault.New(fault.Invalid, "client settings %q: %q is not a profile; mend or remove the file", path, name)
		}
		if on, ok := table["active"].(bool); ok {
			active = active || on
		}
	}
	table, ok := profiles[profile].(map[string]any)
	if !ok {
		table = map[string]any{}
		profiles[profile] = table
	}
	table["server_url"], table["token_id"], table["token_secret"] = serverURL, c.ID, c.Secret
	if !active {
		table["active"] = true
	}
	out, err := toml.Marshal(profiles)
	if err != nil {
		return fmt.Errorf("client settings %q: %w", path, err)
	}
	return replaceFile(path, out)
}

// replaceFile writes a file for its owner alone, whole or not at all.
func replaceFile(path string, content []byte) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays one
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".skerry-*") // mode 0600
	if err != nil {
		return fmt.Errorf("client settings: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("client settings %q: %w", path, err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
