"""How sandboxes are made, found, waited for and ended."""

from __future__ import annotations

import asyncio
import threading

import pytest

import skerry
from skerry import exception as exc
from skerry._gen.skerry.v1.sandbox_definition_pb import IdleAction, PortKind
from skerry._gen.skerry.v1.sandbox_info_pb import SandboxEndReason
from skerry._gen.skerry.v1.sandbox_pb import CreateSandboxRequest


def last(server) -> CreateSandboxRequest:
    """The last sandbox that was asked for."""
    return CreateSandboxRequest.from_binary(bytes.fromhex(server.order()["sandboxes"][-1]))


def end(server, sandbox, reason: SandboxEndReason, code: int) -> None:
    server.order(end={"sandbox": sandbox.object_id, "reason": int(reason), "code": code})


def test_everything_that_is_asked_for_is_sent(server, running_app):
    sandbox = skerry.Sandbox.create(
        "python",
        "-m",
        "http.server",
        app=running_app,
        name="web",
        tags={"a": "b"},
        env={"X": "1", "NONE": None},
        secrets=[skerry.Secret.from_dict({"S": "one", "T": "t"}), skerry.Secret.from_dict({"S": "two"})],
        timeout=600,
        idle_timeout=1.5,
        workdir="/srv",
        cloud="here",
        region=["us", "eu"],
        cpu=(0.5, 2),
        memory=256,
        outbound_cidr_allowlist=["10.0.0.0/8", "::1/128"],
        outbound_domain_allowlist=["*.example.com"],
        inbound_cidr_allowlist=[],
        pty=True,
        encrypted_ports=[8000],
        h2_ports=[8001],
        unencrypted_ports=[22],
        readiness_probe=skerry.Probe.with_exec("test", "-e", "/x", interval_ms=50),
        on_idle="pause",
        owner="run-1",
        egress_secrets=[
            skerry.EgressSecret("KEY", "v", hosts=["api.example.com"], header="Authorization", format="Bearer {}")
        ],
        ephemeral_disk=100,
        verbose=True,
    )
    request = last(server)
    wanted = request.definition
    assert wanted is not None
    assert request.sandbox_id == sandbox.object_id
    assert len(sandbox.object_id) == 25
    assert request.app_id == running_app.app_id
    assert list(wanted.argv) == ["python", "-m", "http.server"]
    assert (wanted.name, dict(wanted.tags), dict(wanted.env)) == ("web", {"a": "b"}, {"X": "1"})
    assert server.order()["secrets"] == [{"S": "two", "T": "t"}, {"KEY": "v"}]
    assert list(wanted.secret_ids) == ["st-1"]
    assert (wanted.timeout.seconds, wanted.idle_timeout.nanos, wanted.on_idle) == (600, 500_000_000, IdleAction.PAUSE)
    assert (wanted.workdir, wanted.pty, wanted.verbose, wanted.owner) == ("/srv", True, True, "run-1")
    assert (wanted.resources.cpu_milli, wanted.resources.cpu_limit_milli, wanted.resources.memory_mib) == (
        500,
        2000,
        256,
    )
    assert [(p.port, p.kind) for p in wanted.ports] == [
        (8000, PortKind.ENCRYPTED),
        (8001, PortKind.H2),
        (22, PortKind.UNENCRYPTED),
    ]
    network = wanted.network
    assert list(network.outbound_cidrs.entries) == ["10.0.0.0/8", "::1/128"]
    assert list(network.outbound_domains.entries) == ["*.example.com"]
    assert (list(network.inbound_cidrs.entries), network.block) == ([], False)
    assert list(wanted.placement.regions) == ["us", "eu"]
    secret = wanted.egress_secrets[0]
    assert (secret.secret_id, secret.variable, list(secret.hosts)) == ("st-2", "KEY", ["api.example.com"])
    assert (secret.header, secret.format) == ("Authorization", "Bearer {}")


def test_open_and_closed_lists_are_told_apart(server, running_app):
    skerry.Sandbox.create(app=running_app)
    assert last(server).definition.network.outbound_cidrs is None
    skerry.Sandbox.create(app=running_app, outbound_cidr_allowlist=[])
    assert last(server).definition.network.outbound_cidrs.entries == []
    skerry.Sandbox.create(app=running_app, block_network=True)
    assert last(server).definition.network.block


@pytest.mark.parametrize(
    "options",
    [
        {"gpu": ["A100"]},
        {"workdir": "here"},
        {"timeout": 0},
        {"timeout": None},
        {"timeout": 31 * 86400},
        {"idle_timeout": -1},
        {"name": "a b"},
        {"tags": {"a b": "c"}},
        {"tags": {str(n): "x" for n in range(51)}},
        {"env": {"A": 1}},
        {"secrets": ["x"]},
        {"cpu": 0},
        {"memory": (512, 256)},
        {"encrypted_ports": [0]},
        {"encrypted_ports": [80], "unencrypted_ports": [80]},
        {"encrypted_ports": [80], "block_network": True},
        {"outbound_cidr_allowlist": [], "block_network": True},
        {"outbound_domain_allowlist": [], "block_network": True},
        {"inbound_cidr_allowlist": [], "block_network": True},
        {"outbound_cidr_allowlist": ["nonsense"]},
        {"outbound_cidr_allowlist": "10.0.0.0/8"},
        {"outbound_domain_allowlist": ["a..b"]},
        {"outbound_domain_allowlist": ["https://example.com"]},
        {"readiness_probe": 8000},
        {"on_idle": "sleep"},
        {"owner": ""},
        {"image": "debian"},
        {"egress_secrets": [skerry.Secret.from_dict({})]},
        {"volumes": {"/data": object()}},
        {"volumes": {"data": skerry.Volume.from_name("a")}},
    ],
)
def test_what_makes_no_sense(running_app, options):
    with pytest.raises(exc.InvalidError):
        skerry.Sandbox.create(app=running_app, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"gpu": "A100"}, "GPUs"),
        ({"proxy": object()}, "static"),
        ({"network_file_systems": {"/x": 1}}, "none"),
        ({"include_oidc_identity_token": True}, "identity"),
        ({"experimental_options": {"enable_docker": True}}, "enable_docker"),
    ],
)
def test_what_there_is_not(running_app, options, text):
    with pytest.raises(exc.UnimplementedError, match=text):
        skerry.Sandbox.create(app=running_app, **options)


def test_arguments_and_apps(connected, running_app):
    with pytest.raises(exc.InvalidError, match="require an App"):
        skerry.Sandbox.create("true")
    with pytest.raises(ValueError, match="not been initialized"):
        skerry.Sandbox.create("true", app=skerry.App("idle"))
    with pytest.raises(exc.InvalidError, match="65,536"):
        skerry.Sandbox.create("x" * 65_537, app=running_app)
    with pytest.raises(exc.InvalidError, match="str"):
        skerry.Sandbox.create("echo", 1, app=running_app)
    with pytest.raises(exc.InvalidError, match="create"):
        skerry.Sandbox()
    with pytest.raises(TypeError, match="colour"):
        asyncio.run(skerry.Sandbox.create.aio("true", app=running_app, colour="red"))


def test_deprecated_arguments(server, running_app):
    with pytest.warns(exc.DeprecationError, match="pty_info"):
        skerry.Sandbox.create(app=running_app, pty_info=object())
    with pytest.warns(exc.DeprecationError, match="cidr_allowlist"):
        skerry.Sandbox.create(app=running_app, cidr_allowlist=["10.0.0.0/8"])
    assert list(last(server).definition.network.outbound_cidrs.entries) == ["10.0.0.0/8"]
    with pytest.warns(exc.DeprecationError, match="environment"):
        skerry.Sandbox.create(app=running_app, environment_name="main")


def test_images_are_built_once_and_again_where_they_are_gone(server, running_app, tmp_path):
    image = skerry.Image.debian_slim("3.11").env({"A": "sandbox"})
    skerry.Sandbox.create(app=running_app, image=image)
    built = len(server.order()["recipes"])
    skerry.Sandbox.create(app=running_app, image=image)
    assert len(server.order()["recipes"]) == built
    server.order(lose_image=image.object_id)
    skerry.Sandbox.create(app=running_app, image=image)
    assert len(server.order()["recipes"]) == built + 1
    (tmp_path / "file").write_text("hello")
    skerry.Sandbox.create(app=running_app, image=image.add_local_dir(str(tmp_path), "/data"))
    assert [mount.remote_path for mount in last(server).definition.mounts] == ["/data"]


def test_one_name_at_a_time(server, running_app):
    sandbox = skerry.Sandbox.create(app=running_app, name="only")
    with pytest.raises(exc.AlreadyExistsError, match="only"):
        skerry.Sandbox.create(app=running_app, name="only")
    assert skerry.Sandbox.from_name("demo", "only").object_id == sandbox.object_id
    sandbox.terminate()
    skerry.Sandbox.create(app=running_app, name="only")


def test_found_and_listed(server, running_app):
    made = [skerry.Sandbox.create(app=running_app, tags={"n": str(n % 2)}) for n in range(5)]
    assert [s.object_id for s in skerry.Sandbox.list()] == [s.object_id for s in reversed(made)]
    assert len(list(skerry.Sandbox.list(tags={"n": "1"}))) == 2
    found = skerry.Sandbox.from_id(made[0].object_id)
    assert repr(found) == f"skerry.Sandbox.from_id({made[0].object_id!r})"
    assert found.get_tags() == {"n": "0"}
    found.set_tags({"x": "y"})
    assert found.get_tags() == {"x": "y"}
    info = found.info()
    assert (info.state, info.app_id, info.returncode, info.name) == ("running", running_app.app_id, None, None)
    with pytest.raises(exc.NotFoundError):
        skerry.Sandbox.from_id("sb-" + "0" * 22)
    with pytest.raises(exc.InvalidError):
        skerry.Sandbox.from_id("nonsense")

    async def listed() -> int:
        return len([sandbox async for sandbox in skerry.Sandbox.list.aio()])

    assert asyncio.run(listed()) == 5


@pytest.mark.parametrize(
    ("reason", "code", "raised"),
    [
        (SandboxEndReason.EXITED, 0, None),
        (SandboxEndReason.EXITED, 3, None),
        (SandboxEndReason.TIMEOUT, 124, exc.SandboxTimeoutError),
        (SandboxEndReason.IDLE_TIMEOUT, 124, exc.SandboxTimeoutError),
        (SandboxEndReason.TERMINATED, 137, exc.SandboxTerminatedError),
        (SandboxEndReason.OUT_OF_MEMORY, 137, None),
        (SandboxEndReason.START_FAILED, 1, exc.RemoteError),
        (SandboxEndReason.LOST, 137, exc.InternalFailure),
    ],
)
def test_ends(server, sandbox, reason, code, raised):
    assert (sandbox.poll(), sandbox.returncode) == (None, None)
    ending = threading.Timer(0.1, end, (server, sandbox, reason, code))
    ending.start()
    if raised is None:
        sandbox.wait()
    else:
        with pytest.raises(raised):
            sandbox.wait()
    ending.join()
    assert (sandbox.returncode, sandbox.poll()) == (code, code)
    if raised is exc.SandboxTerminatedError:
        sandbox.wait(raise_on_termination=False)
    assert skerry.Sandbox.from_id(sandbox.object_id).returncode == code


def test_terminate(sandbox):
    assert sandbox.terminate() is None
    assert sandbox.terminate(wait=True) == 137
    sandbox.detach()
    with pytest.raises(exc.SandboxTerminatedError):
        sandbox.wait()


def test_ready(server, running_app):
    sandbox = skerry.Sandbox.create(app=running_app, readiness_probe=skerry.Probe.with_tcp(80))
    with pytest.raises(exc.TimeoutError):
        sandbox.wait_until_ready(timeout=0.1)
    becoming = threading.Timer(0.1, lambda: server.order(ready=sandbox.object_id))
    becoming.start()
    sandbox.wait_until_ready()
    becoming.join()
    end(server, sandbox, SandboxEndReason.EXITED, 0)
    with pytest.raises(exc.ConflictError):
        sandbox.wait_until_ready()
    with pytest.raises(exc.InvalidError):
        sandbox.wait_until_ready(timeout=0)


def test_waiting_goes_on_over_a_restart_that_forgets_nothing(server, sandbox):
    async def wait() -> int | None:
        task = asyncio.create_task(sandbox.terminate.aio(wait=True))
        return await task

    assert asyncio.run(wait()) == 137


def test_probes():
    assert repr(skerry.Probe.with_tcp(80)) == "skerry.Probe.with_tcp(80)"
    for bad in (
        lambda: skerry.Probe.with_tcp(0),
        lambda: skerry.Probe.with_tcp(80, interval_ms=0),
        skerry.Probe.with_exec,
        lambda: skerry.Probe.with_exec("a", 1),
    ):
        with pytest.raises(exc.InvalidError):
            bad()
    with pytest.raises(TypeError):
        skerry.Probe()


@pytest.mark.parametrize(
    "options",
    [
        {"hosts": []},
        {"hosts": "example.com"},
        {"hosts": ["*"]},
        {"hosts": ["a.b"], "header": "bad header"},
        {"hosts": ["a.b"], "format": "Bearer {}"},
        {"hosts": ["a.b"], "header": "X", "format": "Bearer"},
        {"hosts": ["a.b"], "secret": skerry.Secret.from_dict({"KEY": "x"})},
    ],
)
def test_egress_secrets_that_make_no_sense(options):
    with pytest.raises(exc.InvalidError):
        skerry.EgressSecret("KEY", "value", **options)
