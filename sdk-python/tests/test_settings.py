"""Settings, profiles and tokens."""

from __future__ import annotations

import json
import os

import pytest

from skerry import config as settings
from skerry import exception as exc
from skerry.cli.root import _profile_first
from skerry.config import Config


@pytest.fixture
def path(tmp_path):
    return tmp_path / "skerry.toml"


def test_defaults_without_a_file(path):
    config = Config()
    assert config.profile == ""
    assert config.server_url == "http://127.0.0.1:7070"
    assert config.as_dict() == settings.DEFAULTS


def test_variables_come_before_the_profile(path, monkeypatch):
    path.write_text(
        '[a]\ntoken_id = "tk-a"\n[b]\nactive = true\ntoken_id = "tk-b"\nserver_url = "http://b:1/"\nasync_warnings = false\n'
    )
    config = Config()
    assert (config.profile, config.get("token_id"), config.server_url, config.async_warnings) == (
        "b",
        "tk-b",
        "http://b:1",
        False,
    )
    monkeypatch.setenv("SKERRY_TOKEN_ID", "tk-env")
    assert config.get("token_id") == "tk-env"
    monkeypatch.setenv("SKERRY_PROFILE", "a")
    assert config.profile == "a"
    config.choose("b")
    assert config.profile == "b"


def test_only_profile_needs_no_mark(path):
    path.write_text('[only]\ntoken_id = "x"\n')
    assert Config().profile == "only"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nactive = true\n[b]\nactive = true\n", "several profiles are active"),
        ("[a]\n[b]\n", "no profile is active"),
        ("[a\n", "toml"),
        ('token_id = "x"\n', "outside a profile"),
        ('[a]\nconnect_timeout = "soon"\n', "no number"),
        ('[a]\nforce_build = "maybe"\n', "neither true nor false"),
    ],
)
def test_files_that_make_no_sense(path, text, message):
    path.write_text(text)
    with pytest.raises(exc.InvalidError, match=message):
        Config().as_dict()


def test_file_is_private_and_survives_writing(path):
    table = {"token_id": "tk-1", "token_secret": 'with "quotes" and ü', "active": True, "logs_timeout": 2.5}
    settings.write(str(path), {"a": table, "b c": {}})
    assert Config().profiles == {"a": table, "b c": {}}
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_no_file_is_read_in_containers(path, monkeypatch):
    path.write_text('[a]\ntoken_id = "x"\n')
    monkeypatch.setenv("SKERRY_IS_REMOTE", "1")
    assert Config().get("token_id") == ""


def test_cli_profiles_and_tokens(cli, server, tmp_path):
    env = {"SKERRY_SERVER_URL": server.url, "SKERRY_TOKEN_ID": "", "SKERRY_TOKEN_SECRET": ""}
    assert cli("profile", "current").stdout == "none\n"
    cli("token", "set", "--token-id", "tk-test", "--token-secret", "secret", "--server-url", server.url)
    assert "unknown token" in cli("token", "set", "--token-id", "tk-test", "--token-secret", "x", code=1).stderr
    (tmp_path / "skerry.toml").write_text((tmp_path / "skerry.toml").read_text() + '[other]\ntoken_id = "tk-o"\n')
    assert cli("profile", "current").stdout == "default\n"
    assert [row["profile"] for row in json.loads(cli("profile", "list", "--json").stdout)] == ["default", "other"]
    assert "tk-test" in cli("token", "info").stdout
    cli("profile", "activate", "other")
    assert cli("profile", "current").stdout == "other\n"
    assert cli("profile", "current", "--profile", "default").stdout == "default\n"
    assert "there is: default, other" in cli("profile", "activate", "none", code=2).stderr
    cli("config", "set-environment", "staging")
    shown = json.loads(cli("config", "show", **env).stdout)
    assert (shown["profile"], shown["environment"]) == ("other", "staging")
    cli("config", "set-environment", "en-x", code=1)
    assert json.loads(cli("config", "show").stdout)["token_secret"] == "***"
    assert json.loads(cli("config", "show", "--no-redact").stdout)["token_secret"] == "secret"


def test_cli_where_no_profile_is_in_use(cli, path):
    """What says which one is to be used has to work, and what needs one says so in one line."""
    path.write_text("[a]\nlogs_timeout = 3.0\n[b]\n")
    shown = cli("config", "show", code=1).stderr
    assert "no profile is active" in shown
    assert "Traceback" not in shown
    listed = cli("profile", "list", "--json")
    assert [row["active"] for row in json.loads(listed.stdout)] == ["", ""]
    assert "no profile is active" in listed.stderr
    assert json.loads(cli("config", "show", "--profile", "a").stdout)["logs_timeout"] == 3
    cli("profile", "activate", "b")
    assert cli("profile", "current").stdout == "b\n"


def test_cli_settings_that_make_no_sense(cli, path):
    path.write_text("[a\n")
    assert "toml" in cli("app", "list", code=1).stderr
    path.write_text("")
    shown = cli("profile", "current", code=1, SKERRY_LOGLEVEL="loud").stderr
    assert "want one of DEBUG, INFO" in shown
    assert "Traceback" not in shown


def test_cli_token_of_a_profile_that_there_was_not(cli, server, path):
    cli("token", "set", "--token-id", "tk-test", "--token-secret", "secret")
    new = ("--profile", "new", "--server-url", server.url, "--no-activate")
    cli("token", "set", "--token-id", "tk-test", "--token-secret", "secret", *new)
    assert Config().profiles["new"]["server_url"] == server.url
    assert cli("profile", "current").stdout == "default\n"


def test_cli_help_and_version(cli):
    assert cli("--version").stdout.startswith("skerry client version: ")
    assert "Usage" in cli(code=None).stdout
    for command in (
        "run",
        "deploy",
        "app",
        "app logs",
        "container",
        "container exec",
        "config",
        "profile",
        "token",
        "token set",
    ):
        assert "Usage" in cli(*command.split(), "--help").stdout


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        (["app", "list", "--profile", "x"], ["--profile", "x", "app", "list"]),
        (["--profile", "x", "app"], ["--profile", "x", "app"]),
        (["run", "--profile=x", "f.py", "--n", "1"], ["--profile=x", "run", "f.py", "--n", "1"]),
        (["run", "f.py", "--profile", "mine"], ["run", "f.py", "--profile", "mine"]),
        (["run", "-w", "out", "f.py", "--profile", "mine"], ["run", "-w", "out", "f.py", "--profile", "mine"]),
        (
            ["container", "exec", "ta-1", "env", "--profile", "mine"],
            ["container", "exec", "ta-1", "env", "--profile", "mine"],
        ),
    ],
)
def test_profile_may_stand_anywhere_of_ours(given, parsed):
    assert _profile_first(given) == parsed
