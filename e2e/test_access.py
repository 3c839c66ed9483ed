"""Nobody without a token is served."""

import http.client
import json
import stat

import pytest

from e2e.daemon import Daemon

METHODS = [
    "AppService/ListApps",
    "ContainerService/ListContainers",
    "TokenService/CreateToken",
    "CallService/GetCall",
]


@pytest.mark.parametrize("authorization", [None, "Bearer tk-nobody.secret", "Basic abc"])
@pytest.mark.parametrize("method", METHODS)
def test_access_without_a_token_is_refused(daemon: Daemon, method: str, authorization: str | None) -> None:
    connection = http.client.HTTPConnection(daemon.address, timeout=10)
    headers = {"content-type": "application/json", **({"authorization": authorization} if authorization else {})}
    connection.request("POST", f"/skerry.v1.{method}", b"{}", headers)
    response = connection.getresponse()
    assert response.status == 401
    assert json.loads(response.read())["code"] == "unauthenticated"


def test_profile_is_for_its_owner_alone(daemon: Daemon) -> None:
    mode = (daemon.home / ".skerry.toml").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_client_without_a_token_is_told_what_to_do(daemon: Daemon) -> None:
    done = daemon.skerry("--profile", "nobody", "app", "list", check=False)
    assert done.returncode != 0
    assert "nobody" in done.stdout + done.stderr
