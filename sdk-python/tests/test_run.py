"""App runs and deployments, in the process and by the command line."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

import skerry
from skerry import exception as exc
from skerry._client.blobs import inline_payload
from skerry._gen.skerry.v1.app_pb import PublishAppRequest
from skerry._gen.skerry.v1.deployment_pb import DeploymentStrategy
from skerry._gen.skerry.v1.payload_pb import Result, ResultStatus
from skerry._run.load import Loader

COMPLETED, INTERRUPTED, LOCAL_ERROR = 1, 2, 3


def serialized_app(**options):
    app = skerry.App("demo", image=skerry.Image.debian_slim())

    @app.function(serialized=True, **options)
    def f(x):
        return x

    return app, f


def published(server, app_id):
    return PublishAppRequest.from_binary(bytes.fromhex(server.order()["published"][app_id]))


def test_cloud_of_the_settings_where_a_function_names_none(server, client, monkeypatch):
    monkeypatch.setenv("SKERRY_DEFAULT_CLOUD", "gcp")
    for cloud, wanted in ((None, ["gcp"]), ("aws", ["aws"]), ("auto", [])):
        app, _ = serialized_app(cloud=cloud)
        with app.run(client=client):
            app_id = app.app_id
        (definition,) = published(server, app_id).functions
        assert list(definition.placement.clouds) == wanted


def test_functions_can_be_called_while_the_app_runs(server, client):
    app, f = serialized_app(
        cpu=(0.5, 2), memory=(256, 512), timeout=60, env={"A": "b"}, max_containers=3, scaledown_window=5
    )
    with app.run(client=client) as running:
        assert running is app
        app_id = app.app_id
        assert f.remote(1) == ((1,), {})
        assert f.object_id == "fu-f"
    assert app.app_id is None
    with pytest.raises(exc.ExecutionError, match="not running"):
        f.remote(1)
    report = server.order()
    assert report["stopped"] == {app_id: COMPLETED}
    assert report["secrets"] == [{"A": "b"}]
    (definition,) = published(server, app_id).functions
    assert (definition.resources.cpu_milli, definition.resources.cpu_limit_milli) == (500, 2000)
    assert (definition.resources.memory_mib, definition.resources.memory_limit_mib) == (256, 512)
    assert definition.timeout.seconds == 60
    assert (definition.autoscaler.max_containers, definition.autoscaler.scaledown_window.seconds) == (3, 5)
    assert definition.serialized is not None
    assert list(definition.secret_ids) == ["st-1"]


def test_async_run(server, client):
    app, f = serialized_app()

    async def main():
        async with app.run(client=client):
            return await f.remote.aio(1)

    assert asyncio.run(main()) == ((1,), {})
    assert list(server.order()["stopped"].values()) == [COMPLETED]


def test_start_that_is_cancelled_stops_the_app(server, client):
    """The thread that starts it goes on when its task is cancelled, and then has to take back what it has begun."""
    app, _ = serialized_app()
    loads, go_on = threading.Event(), threading.Event()

    class Waiting(Loader):
        def load(self):
            loads.set()
            go_on.wait()
            return super().load()

    async def enter():
        run = app.run(client=client)
        run.loader_class = Waiting
        async with run:
            raise AssertionError("it was cancelled before it had started")

    async def main():
        task = asyncio.create_task(enter())
        await asyncio.to_thread(loads.wait)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        go_on.set()

    asyncio.run(main())
    assert list(server.order()["stopped"].values()) == [INTERRUPTED]
    with app.run(client=client):
        pass


def test_block_in_an_event_loop_warns(client):
    app, _ = serialized_app()

    async def main():
        with app.run(client=client):
            pass

    with pytest.warns(exc.AsyncUsageWarning, match="async with app.run"):
        asyncio.run(main())


def test_run_that_is_never_entered_warns(server, client):
    app, _ = serialized_app()
    with pytest.warns(RuntimeWarning, match="never entered"):
        app.run(client=client)
    assert server.order()["stopped"] == {}


def test_error_in_the_block_stops_the_app(server, client):
    app, _ = serialized_app()
    with pytest.raises(KeyError), app.run(client=client):
        raise KeyError("mine")
    assert list(server.order()["stopped"].values()) == [LOCAL_ERROR]


def test_interrupt_stops_the_app_and_leaves_the_block_normally(server, client):
    app, _ = serialized_app()
    run = app.run(client=client)
    with run:
        raise KeyboardInterrupt
    assert run.interrupted
    assert list(server.order()["stopped"].values()) == [INTERRUPTED]


def test_error_while_loading_stops_the_app(server, client):
    app, _ = serialized_app(image=skerry.Image.debian_slim().run_commands("false"))
    with pytest.raises(exc.ImageBuildError), app.run(client=client):
        pass
    assert list(server.order()["stopped"].values()) == [LOCAL_ERROR]


def test_runs_are_not_nested(client):
    app, _ = serialized_app()
    with app.run(client=client), pytest.raises(exc.InvalidError, match="already running"):
        app.run(client=client).__enter__()


def test_run_in_a_container_is_refused(client, monkeypatch):
    app, _ = serialized_app()
    monkeypatch.setenv("SKERRY_IS_REMOTE", "1")
    with pytest.raises(exc.InvalidError, match="in a container"):
        app.run(client=client).__enter__()


def test_heartbeats(server, client, monkeypatch):
    monkeypatch.setenv("SKERRY_HEARTBEAT_INTERVAL", "0.02")
    app, _ = serialized_app()
    with app.run(client=client):
        while server.order()["heartbeats"] < 3:
            threading.Event().wait(0.01)


def test_detached_app_goes_on(server, client):
    app, _ = serialized_app()
    with app.run(client=client, detach=True):
        pass
    assert server.order()["stopped"] == {}


def test_deploy(server, client):
    app, f = serialized_app()
    assert app.deploy(client=client, name="other", tag="v1") is app
    request = published(server, app.app_id)
    assert (request.name, request.tag) == ("other", "v1")
    assert request.commit is None or len(request.commit.commit_hash) == 40
    assert f.remote(2) == ((2,), {})
    nameless = skerry.App()
    with pytest.raises(exc.InvalidError, match="no name"):
        nameless.deploy(client=client)
    with pytest.raises(exc.InvalidError, match="tag"):
        app.deploy(client=client, tag="a b")
    app.deploy(client=client, strategy="recreate")
    assert published(server, app.app_id).strategy == DeploymentStrategy.RECREATE
    with pytest.raises(exc.InvalidError, match="strategy"):
        app.deploy(client=client, strategy="bogus")


def test_output_of_containers_is_shown(server, client, capfd):
    app, f = serialized_app()
    with skerry.enable_output(), app.run(client=client):
        server.order(log={"App": app.app_id, "Function": "f", "Text": "to out\n", "Source": "stdout"})
        server.order(log={"App": app.app_id, "Function": "f", "Text": "to err [bold]\n", "Source": "stderr"})
        f.remote(1)
    out, err = capfd.readouterr()
    assert "f | to out" in out
    assert "f | to err [bold]" in err
    for words in ("Initialized", "Created function f", "Created objects", "a line of the build", "App completed"):
        assert words in err


PROGRAM = textwrap.dedent(
    """
    import os, sys
    import skerry
    app = skerry.App("demo")

    @app.function()
    def f(x: int = 1): return x

    @app.function()
    def text(): return "text"

    @app.local_entrypoint()
    def main(n: int, name: str = "x", loud: bool = False):
        print("main", n, name, loud, f.remote(n))

    @app.local_entrypoint()
    def wait():
        print("waiting", flush=True)
        import threading
        threading.Event().wait()

    @app.local_entrypoint()
    def fail():
        def inner():
            raise LookupError("of the user")
        try:
            inner()
        except LookupError as err:
            raise ValueError("outer") from err

    @app.local_entrypoint()
    async def later():
        print("later", await f.remote.aio(5))

    @app.local_entrypoint()
    def raw(*arguments):
        print("raw", arguments)
    """
)


@pytest.fixture
def program(tmp_path):
    (tmp_path / "prog.py").write_text(PROGRAM)
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("VALUE = 3\n")
    (package / "main.py").write_text(
        PROGRAM.replace("import skerry\n", "import skerry\nfrom .helper import VALUE\n", 1)
    )
    return tmp_path


def test_cli_run(cli, program, server):
    done = cli("run", "prog.py::main", "--n", "3", "--loud")
    assert "main 3 x True ((3,), {})" in done.stdout
    assert "App completed" in done.stderr
    assert "later ((5,), {})" in cli("run", "prog.py::later").stdout
    assert "raw ('--a', 'b')" in cli("run", "prog.py::raw", "--a", "b").stdout
    assert "--loud" in cli("run", "prog.py::app.main", "-h").stdout
    assert "App completed" not in cli("run", "-q", "prog.py::f").stderr


def test_cli_run_module_brings_the_package(cli, program, server):
    assert "main 3" in cli("run", "-m", "pack.main::main", "--n", "3").stdout
    (app_id,) = server.order()["published"]
    functions = published(server, app_id).functions
    assert {function.module for function in functions} == {"pack.main"}
    assert {mount.remote_path for function in functions for mount in function.mounts} == {"/root/pack"}


def test_cli_python_script_and_module(server, program):
    script = PROGRAM + "\nif __name__ == '__main__':\n    with app.run():\n        main(n=4)\n"
    (program / "prog.py").write_text(script)
    (program / "pack" / "main.py").write_text(script)
    for command in (["prog.py"], ["-m", "pack.main"]):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=program,
            env={**os.environ, **server.env},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "main 4 x False ((4,), {})\n"
    modules = {f.module for app_id in server.order()["published"] for f in published(server, app_id).functions}
    assert modules == {"prog", "pack.main"}


def test_cli_written_result(cli, program, server):
    text = Result(status=ResultStatus.SUCCESS, value=inline_payload(pickle.dumps("text")))
    server.order(function="fu-text", result=text)
    cli("run", "-w", "result", "prog.py::text")
    assert (program / "result").read_text() == "text"
    assert "--write-result" in cli("run", "-w", "result", "prog.py::f", code=1).stderr


def test_cli_detached(cli, program, server):
    done = cli("run", "-d", "prog.py::f")
    assert "skerry app logs" in done.stderr
    assert server.order()["stopped"] == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["prog.py"], "several"),
        (["prog.py:main"], "'::'"),
        (["prog.py::"], "missing"),
        (["prog.py::nothing"], "no 'nothing'"),
        (["none.py"], "does not exist"),
        (["pack.main"], "-m pack.main"),
        (["-m", "not.there"], "not importable"),
        (["prog.py::main"], "--n"),
        (["prog.py::main", "--n", "x"], "--n"),
        (["prog.py::main", "--n", "1", "--bogus"], "bogus"),
        (["--bogus", "prog.py"], "no such option: --bogus"),
        (["-w", "no/such/folder/out", "prog.py::text"], "no folder"),
    ],
)
def test_cli_usage_errors(cli, program, arguments, text):
    assert text in cli("run", *arguments, code=2).stderr


def test_cli_user_errors_show_the_users_frames(cli, program):
    done = cli("run", "prog.py::fail", code=1)
    assert "LookupError: of the user" in done.stderr
    assert "ValueError: outer" in done.stderr
    assert "direct cause" in done.stderr
    assert "in inner" in done.stderr
    assert "_run/app_run.py" not in done.stderr
    assert "cli/run.py" in cli("run", "prog.py::fail", code=1, SKERRY_TRACEBACK="1").stderr
    (program / "broken.py").write_text("import skerry\n1/0\n")
    assert "ZeroDivisionError" in cli("run", "broken.py", code=1).stderr


@pytest.mark.parametrize("error", ["EOFError('of the user')", "BrokenPipeError(32, 'of the user')"])
def test_cli_errors_that_the_parser_takes_for_its_own(cli, program, error):
    (program / "ends.py").write_text(
        "import skerry\napp = skerry.App('ends')\n@app.local_entrypoint()\ndef main():\n"
        f"    exec(compile(\"raise {error}\", '<ta-1>:/root/ends.py', 'exec'))\n"
    )
    done = cli("run", "ends.py", code=1)
    assert "of the user" in done.stderr
    assert "Aborted" not in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no groups of exceptions")
def test_cli_shows_the_members_of_a_group(cli, program):
    (program / "group.py").write_text(
        "import skerry\napp = skerry.App('group')\n@app.local_entrypoint()\ndef main():\n"
        "    raise ExceptionGroup('two', [ValueError('[first]'), ExceptionGroup('inner', [KeyError('second')])])\n"
    )
    done = cli("run", "group.py", code=1)
    for words in ("two (2 sub-exceptions)", "ValueError: [first]", "inner (1 sub-exception)", "KeyError: 'second'"):
        assert words in done.stderr


def test_cli_help_of_a_function_is_its_text(cli, program):
    (program / "texts.py").write_text(
        "import skerry\napp = skerry.App('texts')\n@app.local_entrypoint()\ndef main(x: int):\n"
        "    'Takes [x] and [/not markup].'\n"
    )
    assert "Takes [x] and [/not markup]." in cli("run", "texts.py", "--help").stdout


def test_cli_interrupt(server, program):
    process = subprocess.Popen(
        [sys.executable, "-m", "skerry", "run", "prog.py::wait"],
        cwd=program,
        env={**os.environ, **server.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "App aborted" in errors
    assert "Traceback" not in errors
    assert list(server.order()["stopped"].values()) == [INTERRUPTED]


def test_cli_deploy_and_lists(cli, program):
    assert "App deployed" in cli("deploy", "prog.py", "--tag", "v1").stdout
    apps = json.loads(cli("app", "list", "--json").stdout)
    assert apps[0]["state"] == "deployed"
    assert "demo" in cli("app", "list").stdout
    assert cli("app", "stop", "demo", code=2).stderr
    assert "Stopped" in cli("app", "stop", "demo", "-y").stdout


def test_cli_without_server_or_token(cli, program):
    done = cli("run", "prog.py::f", code=1, SKERRY_SERVER_URL="http://127.0.0.1:9")
    assert "skerryd up" in done.stderr
    assert "Traceback" not in done.stderr
    assert "no token" in cli("run", "prog.py::f", code=1, SKERRY_TOKEN_ID="").stderr
    assert "unknown token" in cli("token", "info", code=1, SKERRY_TOKEN_SECRET="x").stderr


def test_program_that_leaves_the_app_open_ends(server, program):
    (program / "open.py").write_text(PROGRAM + "\nrun = app.run()\nrun.__enter__()\nprint(f.remote(1))\nf.spawn(2)\n")
    done = subprocess.run(
        [sys.executable, "open.py"],
        cwd=program,
        env={**os.environ, **server.env},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout == "((1,), {})\n"
    assert done.stderr == ""
