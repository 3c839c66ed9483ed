package guest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
)

func (s *sandbox) interpreters() skerryv1connect.InterpreterServiceClient {
	return skerryv1connect.NewInterpreterServiceClient(&http.Client{Transport: s.Forward()}, "http://gateway")
}

// outcome is what came of code.
type outcome struct {
	stdout, stderr string
	results        []*skerryv1.CodeResult
	failure        *skerryv1.CodeError
	done           *skerryv1.CodeDone
}

// value is the text of the last expression's.
func (o outcome) value() string {
	for _, r := range o.results {
		if r.GetMain() {
			return r.GetData()["text/plain"]
		}
	}
	return ""
}

func (s *sandbox) code(m *skerryv1.RunCodeRequest, each func(*skerryv1.RunCodeResponse)) (o outcome, err error) {
	stream, err := s.interpreters().RunCode(s.Context(), connect.NewRequest(m))
	if err != nil {
		return o, err
	}
	defer stream.Close()
	var stdout strings.Builder
	defer func() { o.stdout = stdout.String() }()
	for stream.Receive() {
		switch e := stream.Msg().GetEvent().(type) {
		case *skerryv1.RunCodeResponse_Stdout:
			stdout.WriteString(e.Stdout)
		case *skerryv1.RunCodeResponse_Stderr:
			o.stderr += e.Stderr
		case *skerryv1.RunCodeResponse_Result:
			o.results = append(o.results, e.Result)
		case *skerryv1.RunCodeResponse_Error:
			o.failure = e.Error
		case *skerryv1.RunCodeResponse_Done:
			o.done = e.Done
		}
		if each != nil {
			each(stream.Msg())
		}
	}
	return o, stream.Err()
}

// python runs code in the default context.
func (s *sandbox) python(code string) outcome {
	s.Helper()
	o, err := s.code(&skerryv1.RunCodeRequest{Code: code}, nil)
	if err != nil || o.done == nil {
		s.Fatalf("%s: %+v, %v", code, o, err)
	}
	return o
}

func TestPython(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	s.checkPython()
}

// checkPython runs what every Python has to run.
func (s *sandbox) checkPython() {
	for _, x := range []struct{ code, stdout, value, failure string }{
		{"x = 41\nx + 1", "", "42", ""},
		{"print('a', end=''); x += 1; x", "a", "42", ""},
		{"x;", "", "", ""},
		{"import asyncio\nawait asyncio.sleep(0)\ny = await asyncio.sleep(0, 'later')\ny", "", "'later'", ""},
		{"import subprocess\n_ = subprocess.run(['sh', '-c', 'echo child'])", "child\n", "", ""},
		{"def f():\n    raise ValueError('oops')\nf()", "", "", "ValueError: oops"},
		{"1 +", "", "", "SyntaxError: "},
		{"input('?')", "", "", "RuntimeError: input() has nobody to ask"},
		{"raise SystemExit(3)", "", "", "SystemExit: 3"},
		{"class P:\n    pass\nimport pickle\npickle.loads(pickle.dumps(P())).__class__ is P", "", "True", ""},
		{"print('größe \\U0001f600')", "größe \U0001f600\n", "", ""},
		{"import os; n = os.write(1, b'\\xff')", "\uFFFD", "", ""},
		{"_", "", "True", ""},
	} {
		o := s.python(x.code)
		failure := ""
		if o.failure != nil {
			failure = o.failure.GetName() + ": " + o.failure.GetValue()
		}
		if o.stdout != x.stdout || o.value() != x.value || !strings.HasPrefix(failure, x.failure) || x.failure == "" && failure != "" {
			s.Errorf("%s: %+v", x.code, o)
		}
	}
	o := s.python("def g():\n    return 1 / 0\n\ng()")
	if tb := o.failure.GetTraceback(); !strings.Contains(tb, "return 1 / 0") || strings.Contains(tb, "kernel.py") || !strings.HasPrefix(tb, "Traceback") {
		s.Errorf("traceback %q", tb)
	}
	o = s.python(`
class R:
    def _repr_html_(self): return "<b>r</b>"
    def _repr_png_(self): return b"png"
    def _repr_latex_(self): raise ValueError
class DataFrame:
    columns = ["a", "b"]
    def head(self, n): return self
    def rows(self): return [(1, "x")]
    def _repr_html_(self): return "<table>"
DataFrame.__module__ = "polars.dataframe"
display(1, R())
DataFrame()`)
	if len(o.results) != 3 || o.results[0].GetData()["text/plain"] != "1" || o.results[1].GetData()["text/html"] != "<b>r</b>" ||
		o.results[1].GetData()["image/png"] != "cG5n" || o.results[2].GetData()["application/json"] != `{"columns": ["a", "b"], "rows": [[1, "x"]]}` {
		s.Errorf("results %v", o.results)
	}
	if o.done.GetExecutionCount() < 10 {
		s.Errorf("%v", o.done)
	}
}

// TestFigures draws with a library that has what ours asks of matplotlib.
func TestFigures(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	o := s.python(`
import sys, types, os
plt = types.ModuleType("matplotlib.pyplot")
class Figure:
    def savefig(self, to, **_): to.write(b"drawn")
open_figures = {1: Figure()}
plt.get_fignums = lambda: list(open_figures)
plt.figure = open_figures.get
plt.close = lambda f: open_figures.clear()
sys.modules["matplotlib.pyplot"] = plt
os.environ["MPLBACKEND"]`)
	if len(o.results) != 2 || o.results[0].GetData()["image/png"] != "ZHJhd24=" || o.value() != "'module://skerry_figures'" {
		t.Errorf("results %v", o.results)
	}
}

func TestInterruptAndTimeout(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	made, err := s.interpreters().CreateContext(t.Context(), connect.NewRequest(&skerryv1.CreateContextRequest{Env: map[string]string{"A": "b"}}))
	if err != nil {
		t.Fatal(err)
	}
	id := made.Msg.GetContext().GetContextId()
	interrupt := func(m *skerryv1.RunCodeResponse) {
		if m.GetStdout() != "" {
			if _, err := s.interpreters().InterruptContext(t.Context(), connect.NewRequest(&skerryv1.InterruptContextRequest{ContextId: id})); err != nil {
				t.Error(err)
			}
		}
	}
	o, err := s.code(&skerryv1.RunCodeRequest{ContextId: id, Code: "import os; z = os.environ['A']\nprint('up')\nwhile True: pass"}, interrupt)
	if err != nil || o.failure.GetName() != "KeyboardInterrupt" || o.done.GetTimedOut() {
		t.Errorf("interrupted: %+v, %v", o, err)
	}
	o, err = s.code(&skerryv1.RunCodeRequest{ContextId: id, Code: "import asyncio\nprint('up')\nawait asyncio.sleep(1000)"}, interrupt)
	if err != nil || o.failure.GetName() != "KeyboardInterrupt" {
		t.Errorf("interrupted while it waits: %+v, %v", o, err)
	}
	o, err = s.code(&skerryv1.RunCodeRequest{ContextId: id, Code: "while True: pass", Timeout: durationpb.New(30 * time.Millisecond)}, nil)
	if err != nil || !o.done.GetTimedOut() {
		t.Errorf("timed out: %+v, %v", o, err)
	}
	if o, err := s.code(&skerryv1.RunCodeRequest{ContextId: id, Code: "z"}, nil); err != nil || o.value() != "'b'" {
		t.Errorf("the state after that: %+v, %v", o, err)
	}
	_, err = s.code(&skerryv1.RunCodeRequest{ContextId: id, Code: "import os; os._exit(3)"}, nil)
	refused(t, err, connect.CodeFailedPrecondition)
	if o, err := s.code(&skerryv1.RunCodeRequest{ContextId: id, Code: "z"}, nil); err != nil || o.failure.GetName() != "NameError" {
		t.Errorf("a fresh one: %+v, %v", o, err)
	}
	if _, err := s.interpreters().RestartContext(t.Context(), connect.NewRequest(&skerryv1.RestartContextRequest{ContextId: id})); err != nil {
		t.Error(err)
	}
	if _, err := s.interpreters().RemoveContext(t.Context(), connect.NewRequest(&skerryv1.RemoveContextRequest{ContextId: id})); err != nil {
		t.Error(err)
	}
	_, err = s.code(&skerryv1.RunCodeRequest{ContextId: id, Code: "1"}, nil)
	refused(t, err, connect.CodeNotFound)
	_, err = s.code(&skerryv1.RunCodeRequest{Language: "cobol", Code: "1"}, nil)
	refused(t, err, connect.CodeInvalidArgument)
}

// TestHostileKernel has code write to the descriptor that its interpreter speaks on.
func TestHostileKernel(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	for _, code := range []string{
		`import os; os.write(4, b"\xff\xff\xff\xff"); os.write(4, b"x" * 1000)`,
		`import os; os.write(4, b"\x00\x00\x00\x04nope")`,
		`import os; os.close(4)`,
	} {
		_, err := s.code(&skerryv1.RunCodeRequest{Code: code}, nil)
		refused(t, err, connect.CodeFailedPrecondition)
	}
	o := s.python(`for _ in range(70): print("x" * (1 << 20))`)
	if n := strings.Count(o.stdout, "x"); n > 64<<20 || n < 60<<20 || !strings.Contains(o.stderr, "more than") {
		t.Errorf("%d characters, %q", n, o.stderr)
	}
	if o := s.python("1"); o.value() != "1" {
		t.Errorf("after that: %+v", o)
	}
}

func TestBash(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	run := func(code string) outcome {
		o, err := s.code(&skerryv1.RunCodeRequest{Language: "bash", Code: code}, nil)
		if err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		return o
	}
	run("x=1; cd /tmp; f() { echo f $1; }; declare -a list=(a b)")
	if o := run("f $x; pwd; echo ${list[1]}; echo e >&2; cat"); o.stdout != "f 1\n/tmp\nb\n" || o.stderr != "e\n" || o.failure != nil {
		t.Errorf("%+v", o)
	}
	if o := run("false"); o.failure.GetName() != "ExitCode" || o.failure.GetValue() != "1" {
		t.Errorf("%+v", o)
	}
	o, err := s.code(&skerryv1.RunCodeRequest{Language: "bash", Code: "while :; do :; done", Timeout: durationpb.New(50 * time.Millisecond)}, nil)
	if err != nil || !o.done.GetTimedOut() {
		t.Errorf("%+v, %v", o, err)
	}
	if o := run("echo $x"); o.stdout != "1\n" {
		t.Errorf("the state after an interrupt: %+v", o)
	}
	_, err = s.code(&skerryv1.RunCodeRequest{Language: "bash", Code: "exit 3"}, nil)
	refused(t, err, connect.CodeFailedPrecondition)
}

func TestJavaScript(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	run := func(code string) outcome {
		o, err := s.code(&skerryv1.RunCodeRequest{Language: "javascript", Code: code}, nil)
		if err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		return o
	}
	run("const a = 20; let b = 1; function twice(x) { return 2 * x }")
	if o := run("console.log('hi'); twice(a) + b + 1"); o.stdout != "hi\n" || o.value() != "42" {
		t.Errorf("%+v", o)
	}
	if o := run("const c = await Promise.resolve(7)\nconst d = c + 1"); o.failure != nil {
		t.Errorf("%+v", o)
	}
	if o := run("display({d}); await Promise.resolve(c)"); o.value() != "7" || o.results[0].GetData()["application/json"] != `{"d":8}` {
		t.Errorf("%+v", o)
	}
	if o := run("throw new TypeError('oops')"); o.failure.GetName() != "TypeError" || o.failure.GetValue() != "oops" {
		t.Errorf("%+v", o)
	}
	for _, code := range []string{"while (true) {}", "await new Promise(() => {})"} {
		o, err := s.code(&skerryv1.RunCodeRequest{Language: "javascript", Code: code, Timeout: durationpb.New(100 * time.Millisecond)}, nil)
		if err != nil || !o.done.GetTimedOut() || o.failure == nil {
			t.Errorf("%s: %+v, %v", code, o, err)
		}
	}
	if o := run("require('node:path').basename('/x/y')"); o.value() != "'y'" {
		t.Errorf("%+v", o)
	}
	res, err := s.interpreters().ListContexts(t.Context(), connect.NewRequest(&skerryv1.ListContextsRequest{}))
	if err != nil || !slices.ContainsFunc(res.Msg.GetContexts(), func(c *skerryv1.ContextInfo) bool { return c.GetLanguage() == "javascript" && !c.GetBusy() }) {
		t.Errorf("%v, %v", res, err)
	}
}
