"""What a container can't see and can't reach."""

import re
import socket
import uuid

from e2e import outside
from e2e.client import client, run_app
from e2e.daemon import Daemon


def test_no_token_inside(daemon: Daemon) -> None:
    profile = (daemon.home / ".skerry.toml").read_text()
    secrets = re.findall(r"token_secret\s*=\s*['\"]([^'\"]+)", profile)
    assert secrets, profile
    with client(daemon, run_app("isolation::look", "--secret", secrets[0])) as program:
        lines = program.finish()
    environment = next(line for line in lines if line.startswith("environment "))
    assert secrets[0] not in environment
    assert "token" not in environment.lower()
    assert "found []" in lines


def test_only_the_outside_is_reachable(daemon: Daemon) -> None:
    blocked = [outside.PRIVATE, outside.METADATA, outside.HOST]
    with outside.outside():
        for address in [outside.PUBLIC, *blocked]:
            with socket.create_connection((address, outside.PORT), timeout=5) as connection:
                assert connection.recv(16) == b"reached", f"the test's own listener on {address}"
        targets = ",".join(f"{address}:{outside.PORT}" for address in [outside.PUBLIC, *blocked])
        answers = connect(daemon, f"{targets},127.0.0.1:{daemon.address.rpartition(':')[2]}")
    assert answers.pop(f"{outside.PUBLIC}:{outside.PORT}") == "reached"
    assert len(answers) == len(blocked) + 2
    for address, answer in answers.items():
        assert answer.startswith("error"), f"{address}: {answer}"


def test_build_steps_reach_only_the_outside(daemon: Daemon) -> None:
    blocked = [outside.PRIVATE, outside.METADATA, outside.HOST]
    with outside.outside():
        targets = [f"{address}:{outside.PORT}" for address in [outside.PUBLIC, *blocked]]
        targets += [daemon.address, "10.0.2.2:22"]
        with client(daemon, run_app("build_isolation::main"), {"ADDRESSES": ",".join(targets)}) as program:
            lines = program.finish()
    answers = dict(line.split("|")[1:] for line in lines if line.startswith("answer|"))
    assert answers.pop(f"{outside.PUBLIC}:{outside.PORT}") == "reached"
    assert len(answers) == len(blocked) + 2
    for address, answer in answers.items():
        assert answer.startswith("error"), f"{address}: {answer}"


def test_users_read_what_a_build_step_went_over() -> None:
    flags = ("--build-processes", "400", "--build-disk", "100", "--build-memory", "500", "--build-timeout", "20")
    with Daemon.temporary(flags=flags) as daemon:
        for greedy_for, says in {
            "processes": "limit of 400 processes (the builder's build_processes)",
            "disk": "wrote more than 100 MiB (the builder's build_disk)",
            "memory": "memory limit of 500 MiB (the builder's build_memory)",
            "time": "ran longer than 20s (the builder's build_timeout)",
        }.items():
            with client(daemon, run_app("greedy_image"), {"GREEDY_FOR": greedy_for, "COLUMNS": "200"}) as program:
                assert program.end() == 1
                output = "\n".join(program.seen)
            assert "ImageBuildError" in output
            assert says in output, output
            assert "greedy_image.py" in output, "the error does not name the place in the user's file"
        # Nothing of any of them is left in the way of the next.
        with client(daemon, run_app("images::main"), {"IMAGE_TAG": uuid.uuid4().hex}) as program:
            program.finish()


def test_containers_do_not_reach_one_another(daemon: Daemon) -> None:
    with client(daemon, run_app("isolation::serve", "--port", str(outside.PORT))) as program:
        found = re.search(r"listening on (\S+)", program.until("listening on"))
        assert found is not None
        answers = connect(daemon, f"{found[1]}:{outside.PORT}")
    assert answers[f"{found[1]}:{outside.PORT}"].startswith("error")


def connect(daemon: Daemon, addresses: str) -> dict[str, str]:
    """What a container gets of each address and of its own gateway."""
    with client(daemon, run_app("isolation::connect", "--addresses", addresses)) as program:
        lines = program.finish()
    parts = [line.split("|") for line in lines if line.startswith("answer|")]
    assert parts, lines
    return {address: answer for _, address, answer in parts}
