"""``import modal`` gives Skerry, in a process of its own: what is imported stays."""

import os
import subprocess
import sys
import textwrap

import pytest


def run(code, **env):
    """Run code that has modal's names; what it prints."""
    source = "import skerry._modal\nskerry._modal.install()\n" + textwrap.dedent(code)
    argv = [sys.executable, "-c", source]
    done = subprocess.run(argv, env={**os.environ, **env}, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_modules_are_the_same():
    assert run("""
        import modal, skerry
        import modal.exception as exception
        from modal.retries import Retries
        from modal import App, file_pattern_matcher
        import modal.experimental
        print(modal is skerry, exception is skerry.exception, Retries is skerry.Retries, App is skerry.App)
        print(modal.__name__, exception.__name__, exception.__spec__.name, file_pattern_matcher.__name__)
    """) == ["True True True True", "skerry skerry.exception skerry.exception skerry.file_pattern_matcher"]


def test_modules_that_are_named_after_what_they_define():
    """And types of what is not there yet: programs name them in annotations."""
    assert run("""
        import modal
        from modal.functions import Function, FunctionCall
        from modal.app import App
        from modal.sandbox import Sandbox
        from modal.container_process import ContainerProcess
        def f(process: ContainerProcess[str], volume: "modal.volume.Volume") -> None: ...
        print(Function is modal.Function, FunctionCall is modal.FunctionCall, App is modal.App, Sandbox is modal.Sandbox)
        print(isinstance(1, ContainerProcess))
    """) == ["True True True True", "False"]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("import modal.proxy; modal.proxy.Proxy.from_name('a')", "skerry.Proxy.from_name is not available"),
        (
            "from modal.network_file_system import NetworkFileSystem; NetworkFileSystem()",
            "skerry.NetworkFileSystem is not available",
        ),
        ("from modal.functions import nonsense", "cannot import name 'nonsense'"),
        ("import modal._utils.async_utils", "internal to Modal's SDK"),
        ("import modal.nonsense", "skerry has no module 'nonsense'"),
        ("from modal import nonsense", "cannot import name 'nonsense'"),
        ("from modal import Proxy; Proxy.from_name('a')", "skerry.Proxy.from_name is not available"),
    ],
)
def test_what_is_missing_is_named(statement, said):
    (line,) = run(f"""
        try:
            {statement}
        except Exception as err:
            print(err)
    """)
    assert said in line


def test_settings_are_taken_but_for_modals_own_service():
    environ = {
        "MODAL_ENVIRONMENT": "theirs",
        "MODAL_LOGLEVEL": "DEBUG",
        "SKERRY_LOGLEVEL": "ERROR",
        "MODAL_TOKEN_SECRET": "secret",
        "MODAL_SERVER_URL": "https://example.com",
    }
    assert run(
        """
        import os
        names = ("SKERRY_ENVIRONMENT", "SKERRY_LOGLEVEL", "SKERRY_TOKEN_SECRET", "SKERRY_SERVER_URL")
        print(*(os.environ.get(name) for name in names))
        """,
        **environ,
    ) == ["theirs ERROR None None"]


def test_nothing_happens_unless_asked():
    done = subprocess.run([sys.executable, "-c", "import skerry, modal"], text=True, capture_output=True, check=False)
    assert "No module named 'modal'" in done.stderr
