package interpreter

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	// maxFrame bounds what an interpreter says at a time, in bytes.
	maxFrame = 32 << 20
	// maxStatus bounds the exit status that bash says, in bytes.
	maxStatus = 8
)

// language is how code of a language is run.
type language struct {
	argv []string // tried in this order
	file string   // of our program, in the folder of kernels
	send func(w io.Writer, code string) error
	take func(r io.Reader) (message, error)
}

// message is what an interpreter says of the code that it runs.
type message struct {
	Type      string            `json:"type"` // "result", "error" or "done"
	Data      map[string]string `json:"data"`
	Main      bool              `json:"main"`
	Name      string            `json:"name"`
	Value     string            `json:"value"`
	Traceback string            `json:"traceback"`

	then *message // what it says at once after that
}

var languages = map[string]language{
	"python":     {argv: []string{"python3", "python"}, file: "kernel.py", send: sendJSON, take: takeJSON},
	"javascript": {argv: []string{"node"}, file: "kernel.cjs", send: sendJSON, take: takeJSON},
	"bash":       {argv: []string{"bash"}, file: "kernel.bash", send: sendBash, take: takeBash},
}

func (l language) command(program, kernels string) []string {
	argv := []string{program}
	if l.file == "kernel.bash" {
		argv = append(argv, "--noprofile", "--norc")
	}
	return append(argv, filepath.Join(kernels, l.file))
}

func sendJSON(w io.Writer, code string) error {
	body, err := json.Marshal(map[string]string{"code": code})
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)) //nolint:gosec // code is bounded
	return err
}

func takeJSON(r io.Reader) (message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message{}, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return message{}, fmt.Errorf("a frame of %d bytes", size)
	}
	// It grows with what comes: a size alone takes no memory.
	body, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil || len(body) < int(size) {
		return message{}, errors.Join(err, io.ErrUnexpectedEOF)
	}
	var m message
	err = json.Unmarshal(body, &m)
	return m, err
}

func sendBash(w io.Writer, code string) error {
	if strings.ContainsRune(code, 0) {
		return fault.New(fault.Invalid, "code for bash can't have a zero byte")
	}
	_, err := io.WriteString(w, code+"\x00")
	return err
}

func takeBash(r io.Reader) (message, error) {
	var status []byte
	for b := [1]byte{}; ; status = append(status, b[0]) {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return message{}, err
		}
		if b[0] == 0 {
			break
		}
		if len(status) == maxStatus {
			return message{}, errors.New("a status that is none")
		}
	}
	done := message{Type: "done"}
	if s := string(status); s != "0" {
		return message{Type: "error", Name: "ExitCode", Value: s, Traceback: "exit code " + s, then: &done}, nil
	}
	return done, nil
}
