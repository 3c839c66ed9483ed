"""Section 7: what code finds and does inside a container, and the life of that."""

import os

import pytest
import skerry

from e2e.client import client
from e2e.conformance.apps import broken, runtime
from e2e.conformance.conftest import Running
from e2e.conformance.lines import line
from e2e.daemon import SKERRY, Daemon


@pytest.fixture(autouse=True, scope="module")
def app(running: Running) -> skerry.App:
    with running(runtime.app) as app:
        return app


@pytest.fixture(scope="module")
def surroundings(app: skerry.App) -> dict[str, object]:
    """What one container is like."""
    del app
    return runtime.surroundings.remote()


@line("7 paths", "Variables: SKERRY_IS_REMOTE=1, _TASK_ID, _IMAGE_ID, _ENVIRONMENT.")
def test_variables_of_a_container(surroundings: dict[str, dict[str, str]]) -> None:
    environ = surroundings["environ"]
    assert environ["SKERRY_IS_REMOTE"] == "1"
    assert environ["SKERRY_TASK_ID"].startswith("ta-")
    assert environ["SKERRY_IMAGE_ID"].startswith("im-")
    assert environ["SKERRY_ENVIRONMENT"] == "main"


@line("7 paths", "User source is in /root, which is the working folder and first on sys.path.")
def test_paths(surroundings: dict[str, list[str]]) -> None:
    assert surroundings["cwd"] == "/root"
    assert surroundings["path"][0] == "/root"


@line("7 runtime", "The user's module is imported in the main thread, with no running loop; is_local() is False from before that on.")
def test_import(surroundings: dict[str, object]) -> None:
    assert surroundings["imported"] == (False, True, False)


@line("7 runtime", "Inputs of a sync function run in the main thread.")
def test_main_thread(surroundings: dict[str, object]) -> None:
    assert surroundings["main_thread"] is True


@line("7 runtime", "app.run() in a container: InvalidError.")
def test_run_in_a_container() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="container"):
        runtime.run_an_app.remote()


@line("12 apps", "Function.from_name inside app code is lazy and does not depend on the running app.")
def test_lookup_in_a_container() -> None:
    with pytest.raises(skerry.exception.NotFoundError, match="nowhere"):
        runtime.look_up.remote("nowhere", "nothing")


@line("7 runtime", "KeyboardInterrupt and GeneratorExit raised by user code end the container; the input runs again, at most five times.")
def test_interrupt_by_user_code() -> None:
    task = runtime.interrupts_itself.remote("")
    with pytest.raises(skerry.exception.InternalFailure, match="6 times"):
        runtime.interrupts_itself.remote("interrupt")
    assert runtime.interrupts_itself.remote("") != task


@line("7 runtime", "Sync hooks and methods run in the main thread; values that hooks return are ignored.")
def test_hooks_in_the_main_thread() -> None:
    assert runtime.Life().in_main_thread.remote() == (True, True)


@line("7 runtime", "Async hooks and inputs share one event loop.")
def test_one_loop_for_hooks_and_inputs() -> None:
    assert runtime.Life().same_loop.remote()


@line("7 runtime", ".local() inside the container does not run the hooks again.")
def test_local_call_in_the_container() -> None:
    before, after = runtime.Life().calls_here.remote()
    assert after == before + 2


@line("7 runtime", "A failing exit hook is reported; the others still run.")
def test_failing_exit_hook(daemon: Daemon) -> None:
    task = runtime.FailsAtItsEnd().task.remote()
    with client(daemon, [str(SKERRY), "container", "logs", task, "-f", "--all"]) as logs:
        logs.until("begun")
        daemon.skerry("container", "stop", task, "--graceful", "--yes")
        logs.until("exit hook", times=3)  # of the traceback on one stream two, on the other one
        assert any("RuntimeError: the exit hook failed" in text for text in logs.seen)
        assert any("the second exit hook ran" in text for text in logs.seen)


@line("7 runtime", "A failing enter hook is printed, and raised in the caller as what it is; exit hooks don't run.")
def test_failing_enter_hook(app: skerry.App, daemon: Daemon) -> None:
    with pytest.raises(ValueError, match="the enter hook failed") as caught:
        runtime.FailsAtItsStart().run.remote()
    assert caught.value.args == ("the enter hook failed", 7)
    assert app.app_id is not None
    printed = daemon.skerry("app", "logs", app.app_id, "--tail", "1000")
    assert "the enter hook failed" in printed.stderr
    assert "an exit hook ran" not in printed.stdout


@line("7 runtime", "A module that can't be imported: the caller gets the exception, with the remote traceback.")
@line("4 timeouts", "A container that fails at start-up again and again becomes one clear failure of the input, with its exception.")
def test_failing_import(running: Running) -> None:
    with running(broken.app), pytest.raises(LookupError, match="the module fails there") as caught:
        broken.never.remote()
    assert caught.value.args == ("the module fails there", 5)


@line("4 timeouts", "startup_timeout bounds image, import and enter hooks.")
def test_slow_start() -> None:
    with pytest.raises(skerry.exception.Error, match="start"):
        runtime.StartsSlowly().run.remote()


@line("1.1 options", "env: None is left out; it comes after the secrets.")
def test_variables_of_options() -> None:
    assert runtime.variables.remote() == ("yes", "secret", None)


@line("1.1 options", "cpu, memory, ephemeral_disk, timeout, startup_timeout, block_network are taken together.")
def test_limits() -> None:
    assert runtime.limited.remote() == "works"


@line("7 runtime", "Threads that are left behind are named in a warning when the container ends.")
def test_thread_that_is_left_behind(daemon: Daemon) -> None:
    task = runtime.leaves_a_thread.remote()
    with client(daemon, [str(SKERRY), "container", "logs", task, "-f", "--all"]) as logs:
        daemon.skerry("container", "stop", task, "--graceful", "--yes")
        logs.until("left-behind")


@line("8 cancellation", "A graceful stop lets the running inputs finish, and takes no more.")
def test_graceful_stop(app: skerry.App, daemon: Daemon) -> None:
    assert app.app_id is not None
    with client(daemon, [str(SKERRY), "app", "logs", app.app_id, "-f"]) as logs:
        call = runtime.until.spawn("/tmp/open")
        task = logs.until("waits in").split()[-1]
        daemon.skerry("container", "stop", task, "--graceful", "--yes")
        daemon.skerry("container", "exec", task, "--", "touch", "/tmp/open")
        assert call.get(timeout=60) == task
        again = runtime.until.spawn("/tmp/open")
        other = logs.until("waits in").split()[-1]
        assert other != task
        again.cancel()


@line("2 context", "is_local(), current_input_id(), current_function_call_id() outside a container.")
def test_context_outside() -> None:
    assert skerry.is_local() and "SKERRY_IS_REMOTE" not in os.environ
    assert skerry.current_input_id() is None and skerry.current_function_call_id() is None


@line("2 context", "interact() outside an interactive run: InvalidError.")
def test_interact_outside() -> None:
    with pytest.raises(skerry.exception.InvalidError, match="interactive"):
        skerry.interact()
