"""The command line as people use it, against a real daemon."""

import filecmp
import json
import os
import uuid
from pathlib import Path

import pytest

from e2e.client import client, run_app
from e2e.daemon import ROOT, SKERRY, Daemon

COMMANDS = "e2e/apps/commands.py"


def listed(daemon: Daemon, *command: str) -> list[dict[str, object]]:
    """What a command lists."""
    return json.loads(daemon.skerry(*command, "--json").stdout)


def test_deployed_app_from_deploy_to_stop(daemon: Daemon) -> None:
    done = daemon.skerry("deploy", "e2e/apps/deployed.py", "--tag", "first")
    assert "App deployed in " in done.stdout and "🎉" in done.stdout and "Created function" in done.stderr
    assert "Deployment skipped: no changes detected!" in daemon.skerry("deploy", "e2e/apps/deployed.py").stdout
    assert "deployed" in [app["description"] for app in listed(daemon, "app", "list") if app["state"] == "deployed"]
    (deployment,) = listed(daemon, "app", "history", "deployed")
    assert (deployment["version"], deployment["tag"]) == ("v1", "first")
    with client(daemon, [str(SKERRY.parent / "python"), "e2e/apps/calls_deployed.py"]) as program:
        assert "answer 42" in program.finish()
    assert "adding one to 41" in daemon.skerry("app", "logs", "deployed").stdout
    unasked = daemon.skerry("app", "stop", "deployed", check=False)
    assert unasked.returncode == 2 and "--yes" in unasked.stderr
    daemon.skerry("app", "stop", "deployed", "--yes")
    with client(daemon, [str(SKERRY.parent / "python"), "e2e/apps/calls_deployed.py"]) as program:
        assert program.end() != 0


def test_stopped_app_is_not_stopped_again(daemon: Daemon) -> None:
    daemon.skerry("run", f"{COMMANDS}::describe", "--text", "x")
    app = next(app["app_id"] for app in listed(daemon, "app", "list") if app["state"] == "stopped")
    again = daemon.skerry("app", "stop", str(app), "--yes", check=False)
    assert (again.returncode, again.stdout) == (1, f"App {app} has been stopped already.\n")


@pytest.fixture
def answering(daemon: Daemon):
    """An app in two versions, whose function returns its version."""
    for version in ("1", "2"):
        daemon.env["COMMANDS_VERSION"] = version
        daemon.skerry("deploy", f"{COMMANDS}::answering")
    del daemon.env["COMMANDS_VERSION"]
    yield
    daemon.skerry("app", "stop", "answering", "--yes")


def ask(daemon: Daemon) -> str:
    program = "import skerry; print(skerry.Function.from_name('answering', 'answer').remote())"
    with client(daemon, [str(SKERRY.parent / "python"), "-c", program]) as asking:
        return asking.finish()[-1]


@pytest.mark.usefixtures("answering")
def test_versions(daemon: Daemon) -> None:
    assert ask(daemon) == "2"
    assert "v3" in daemon.skerry("app", "rollback", "answering").stdout
    assert ask(daemon) == "1"
    daemon.skerry("app", "rollback", "answering", "v2", "--strategy", "recreate")
    assert ask(daemon) == "2"
    (before,) = {c["container_id"] for c in listed(daemon, "container", "list") if c["app_name"] == "answering"}
    daemon.skerry("app", "rollover", "answering")
    assert ask(daemon) == "2"
    assert before not in {c["container_id"] for c in listed(daemon, "container", "list") if c["app_name"] == "answering"}
    assert [d["version"] for d in listed(daemon, "app", "history", "answering")] == ["v5", "v4", "v3", "v2", "v1"]
    for version, code in (("v99", 1), ("newest", 2)):
        assert daemon.skerry("app", "rollback", "answering", version, check=False).returncode == code


@pytest.mark.usefixtures("answering")
def test_logs_and_their_filters(daemon: Daemon) -> None:
    ask(daemon)
    line = daemon.skerry("app", "logs", "answering", "--search", "answering 2", "--show-function-call-id", "--show-container-id")
    call, container = line.stdout.split()[:2]
    assert call.startswith("fc-") and container.startswith("ta-")
    ask(daemon)

    def logs(*options: str) -> list[str]:
        done = daemon.skerry("app", "logs", "answering", *options)
        return sorted((done.stdout + done.stderr).splitlines())

    assert logs("--function-call", call) == ["answer | answering 2", "answer | as an error"]
    assert logs("--function-call", call, "--source", "stdout") == ["answer | answering 2"]
    assert set(logs("--container", container, "--since", "1h")) == {"answer | answering 2", "answer | as an error"}
    assert logs("--since", "2h", "--until", "1h") == []
    assert len(logs("-n", "1")) == 1
    assert daemon.skerry("app", "logs", "answering", "-f", "--since", "1h", check=False).returncode == 2
    assert daemon.skerry("app", "logs", "nowhere", check=False).returncode == 1
    of_container = daemon.skerry("container", "logs", container, "--all")
    assert "answering 2" in of_container.stdout and "as an error" in of_container.stderr


@pytest.mark.usefixtures("answering")
def test_calls(daemon: Daemon) -> None:
    program = "import skerry; call = skerry.Function.from_name('answering', 'relay').spawn(); call.get(); print(call.object_id)"
    with client(daemon, [str(SKERRY.parent / "python"), "-c", program]) as spawning:
        call = spawning.finish()[-1]
    (row,) = listed(daemon, "call", "show", call)
    assert (row["call_id"], row["inputs"], row["finished"]) == (call, 1, 1)
    parent, child = listed(daemon, "call", "graph", call)
    assert (parent["function"], parent["status"], child["function"], child["status"]) == ("relay", "success", "answer", "success")
    assert child["parent_input_id"] == parent["input_id"]
    assert f"answer {child['input_id']}: success" in daemon.skerry("call", "graph", call).stdout
    daemon.skerry("call", "cancel", call, "--yes")
    assert daemon.skerry("call", "show", "fc-" + "0" * 22, check=False).returncode == 1


def test_parameters_come_from_options(daemon: Daemon, tmp_path: Path) -> None:
    result = tmp_path / "result"
    command = ("run", "-q", "-w", str(result), f"{COMMANDS}::describe", "--text", "a b")
    done = daemon.skerry(*command)
    assert result.read_text() == "['a b', 1, 0.5, False, None, 'slow', 1]"
    assert (done.stdout, done.stderr) == ("describe | describing\n", "")
    more = ["--count", "3", "--ratio", "2", "--loud", "--when", "2026-01-31T12:00", "--mode", "fast", "--level", "2"]
    daemon.skerry(*command, *more)
    assert result.read_text() == "['a b', 3, 2.0, True, '2026-01-31T12:00:00', 'fast', 2]"


def test_methods_take_the_parameters_of_their_class_as_well(daemon: Daemon, tmp_path: Path) -> None:
    result = tmp_path / "result"
    daemon.skerry("run", "-w", str(result), f"{COMMANDS}::Model.predict", "--size", "2", "--text", "ab", "--times", "2")
    assert result.read_bytes() == b">loaded abababab"
    daemon.skerry("run", "--detach", "-w", str(result), f"{COMMANDS}::app.Model.predict", "--size", "1", "--text", "a", "--prefix", "=")
    assert result.read_bytes() == b"=loaded a"
    shown = daemon.skerry("run", f"{COMMANDS}::Model.predict", "--help").stdout
    assert all(option in shown for option in ("--size", "--prefix", "--text", "--times"))


def test_raw_arguments_of_the_entrypoint(daemon: Daemon) -> None:
    assert "arguments: --odd x -y\n" in daemon.skerry("run", COMMANDS, "--odd", "x", "-y").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([f"{COMMANDS}::describe"], 2, "--text"),
        ([f"{COMMANDS}::describe", "--text", "a", "--mode", "odd"], 2, "slow"),
        ([f"{COMMANDS}::Model.predict", "--text", "a"], 2, "--size"),
        ([f"{COMMANDS}::nothing"], 2, "it has:"),
        ([f"{COMMANDS}:describe"], 2, "::"),
        (["e2e.apps.commands"], 2, "-m"),
        ([f"{COMMANDS}::counting"], 1, "generator"),
        ([f"{COMMANDS}::fails", "--x", "3"], 1, "ValueError: no 3"),
        (["-q", "-i", f"{COMMANDS}::describe", "--text", "a"], 2, "exclude"),
        (["-i", f"{COMMANDS}::describe", "--text", "a"], 1, "terminal"),
    ],
)
def test_errors_of_run(daemon: Daemon, arguments: list[str], code: int, words: str) -> None:
    done = daemon.skerry("run", *arguments, check=False)
    assert done.returncode == code, done.stderr
    assert words in done.stderr


def test_whole_tracebacks_on_demand(daemon: Daemon) -> None:
    argv = [str(SKERRY), "run", f"{COMMANDS}::fails", "--x", "3"]
    with client(daemon, argv, env={"SKERRY_TRACEBACK": "1"}) as program:
        assert program.end() == 1
    assert any("skerry/cli/run.py" in line for line in program.seen)


def test_containers_are_listed_entered_and_stopped(daemon: Daemon) -> None:
    with client(daemon, run_app("stay")) as program:
        container = program.until("started in").split()[-1]
        assert container in [entry["container_id"] for entry in listed(daemon, "container", "list")]
        for command in (("container", "exec", container, "--", "sh", "-c"), ("shell", container, "--no-pty", "--cmd")):
            script = "echo inside; exit 5"
            done = daemon.skerry(*command, script if command[0] == "container" else f"sh -c '{script}'", check=False)
            assert (done.returncode, done.stdout.strip()) == (5, "inside")
        daemon.skerry("container", "stop", container, "--yes")
    assert daemon.skerry("container", "exec", container, "true", check=False).returncode == 1


def test_shell_without_a_terminal(daemon: Daemon, tmp_path: Path) -> None:
    script = "pwd; ls /root; python -c 'print(6 * 7)'; exit 3"
    done = daemon.skerry("shell", f"{COMMANDS}::Model.predict", "--cmd", script, check=False)
    assert (done.returncode, done.stdout.split()) == (3, ["/root", "commands.py", "42"]), done.stderr
    (tmp_path / "data.txt").write_text("mounted\n")
    done = daemon.skerry("shell", "--add-local", str(tmp_path / "data.txt"), "--memory", "256", "-c", "cat /mnt/data.txt")
    assert done.stdout == "mounted\n"
    for arguments, reason in ((["--gpu", "H100"], "not available"), (["sb-1"], "22 letters"), (["--volume", "v"], "NotFoundError")):
        refused = daemon.skerry("shell", *arguments, check=False)
        assert refused.returncode == 1 and reason in refused.stderr and "Traceback" not in refused.stderr
    assert daemon.skerry("shell", f"{COMMANDS}::describe", "--cpu", "2", check=False).returncode == 2


def test_volumes_from_the_command_line(daemon: Daemon, tmp_path: Path) -> None:
    name, folder = f"cli-{uuid.uuid4().hex[:8]}", tmp_path / "sent"
    (folder / "in").mkdir(parents=True)
    (folder / "in/a").write_text("one\n")
    (folder / "b").write_bytes(os.urandom(5 << 20))
    daemon.skerry("volume", "create", name)
    daemon.skerry("volume", "put", name, str(folder), "/all")
    again = daemon.skerry("volume", "put", name, str(folder / "b"), "/all/b", check=False)
    assert again.returncode == 1
    assert "Traceback" not in again.stderr
    assert set(daemon.skerry("volume", "ls", name, "/all").stdout.split()) == {"all/in", "all/b"}
    assert daemon.skerry("volume", "get", name, "/all/in/a", "-").stdout == "one\n"
    daemon.skerry("volume", "get", name, "/all", str(tmp_path / "got"))
    assert filecmp.cmp(folder / "b", next((tmp_path / "got").rglob("b")), shallow=False)
    daemon.skerry("volume", "cp", "-r", name, "/all/in", "/copy")
    daemon.skerry("volume", "rm", "-r", name, "/all")
    shown = daemon.skerry("shell", "--volume", name, "-c", f"cat /mnt/{name}/copy/a; echo more > /mnt/{name}/new")
    assert shown.stdout == "one\n"
    assert daemon.skerry("volume", "get", name, "new", "-").stdout == "more\n"
    history = daemon.skerry("volume", "history", name).stdout
    assert "upload" in history, history
    daemon.skerry("volume", "rename", name, f"{name}-2", "-y")
    assert f"{name}-2" in daemon.skerry("volume", "list").stdout
    daemon.skerry("volume", "delete", f"{name}-2", "-y")


def test_ctrl_c_ends_a_shell_without_a_terminal(daemon: Daemon) -> None:
    command = ["shell", f"{COMMANDS}::describe", "--no-pty", "--cmd", "echo up; sleep 1000"]
    with client(daemon, [str(SKERRY), *command]) as program:
        program.until("up")
    assert program.process.returncode == 130
    assert listed(daemon, "app", "list")[0]["state"] in ("stopping...", "stopped")
    with client(daemon, run_app("stay")) as staying:
        container = staying.until("started in").split()[-1]
        with client(daemon, [str(SKERRY), "container", "exec", "--no-pty", container, "sh", "-c", "echo up; sleep 1000"]) as program:
            program.until("up")
        assert program.process.returncode == 130


def test_serve_loads_changes_and_survives_bad_ones(daemon: Daemon, tmp_path: Path) -> None:
    source = tmp_path / "served.py"

    def write(number: str) -> None:
        text = f"import skerry\napp = skerry.App('served')\n@app.function(min_containers=1)\ndef f(): ...\nprint('version', {number})\n"
        draft = tmp_path / "draft"
        draft.write_text(text)
        draft.rename(source)  # as editors do

    write("1")
    with client(daemon, [str(SKERRY), "serve", str(source)]) as serving:
        serving.until("Watching")
        write("2")
        serving.until("f | version 2")
        write("1 +")
        serving.until("SyntaxError")
        serving.until("the version before it goes on")
        write("3")
        serving.until("f | version 3")
    assert serving.process.returncode == 0
    assert listed(daemon, "app", "list")[0]["state"] == "stopped"


def test_serve_ends_by_itself(daemon: Daemon) -> None:
    with client(daemon, [str(SKERRY), "serve", "e2e/apps/deployed.py", "--timeout", "0.5"]) as serving:
        assert any("App completed." in line for line in serving.finish())


def test_setup_and_token_of_this_machine(daemon: Daemon) -> None:
    assert "is known to the server" in daemon.skerry("setup").stdout
    lost = {**os.environ, "HOME": str(ROOT / "nowhere")}
    with client(daemon, [str(SKERRY), "setup"], env={"HOME": lost["HOME"]}) as program:
        assert program.end() == 1
    assert any("skerryd up" in line for line in program.seen)


def test_every_command_has_help(daemon: Daemon) -> None:
    for command in (
        [],
        ["run"],
        ["deploy"],
        ["serve"],
        ["shell"],
        ["app"],
        ["app", "list"],
        ["container"],
        ["schedule"],
        ["config"],
        ["profile"],
        ["token"],
    ):
        assert "Usage" in daemon.skerry(*command, "--help").stdout
