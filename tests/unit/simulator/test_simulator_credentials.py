"""Credentials under SnapStart: an endpoint serves the developer's own, and no variable has them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from snapext_tools.simulator.credentials import DEVELOPERS_OWN, Credentials, developers_credentials
from snapext_tools.simulator.folder import extension_environment, runtime_environment

KEYS = "aws_access_key_id = AKIA{0}\naws_secret_access_key = secret%{0}\n"


@dataclass(frozen=True)
class Settings:
    port: int = 8000
    workers: int | None = None
    init_type: str = "snap-start"
    adapter: str = "builtin"
    with_snapext: bool = True


def keys_of(credentials: Credentials) -> tuple[str, str, str]:
    return credentials.key_id, credentials.secret, credentials.session_token


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    return tmp_path


def test_variables_win_with_or_without_a_session_token(home: Path) -> None:
    """As for every SDK."""
    (home / ".aws" / "credentials").write_text("[default]\n" + KEYS.format("FILE"))
    environ = {"HOME": str(home), "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}

    assert keys_of(developers_credentials(environ)) == ("AKIA", "s", "")
    assert keys_of(developers_credentials({**environ, "AWS_SESSION_TOKEN": "t"})) == ("AKIA", "s", "t")


@pytest.mark.parametrize("profile", ["", "work", "other"])
def test_keys_of_a_profile_come_out_of_awss_own_files(home: Path, profile: str) -> None:
    """From credentials or config, which name their sections differently."""
    (home / ".aws" / "credentials").write_text(f"[default]\n{KEYS.format('DEFAULT')}[work]\n{KEYS.format('WORK')}")
    (home / ".aws" / "config").write_text(f"[profile other]\n{KEYS.format('OTHER')}aws_session_token = t\n")
    credentials = developers_credentials({"HOME": str(home), "AWS_PROFILE": profile})

    name = profile.upper() or "DEFAULT"
    assert keys_of(credentials) == (f"AKIA{name}", f"secret%{name}", "t" if profile == "other" else "")
    assert credentials.doubt == ""


@pytest.mark.parametrize(
    ("config", "environ", "named"),
    [
        ("[default]\nsso_session = corp\n", {}, "sso_session"),
        ("[profile work]\nrole_arn = arn:aws:iam::1:role/x\n", {"AWS_PROFILE": "work"}, "AWS_PROFILE, role_arn"),
        ("", {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    ],
)
def test_credentials_that_are_no_keys_are_replaced_and_that_is_said(
    home: Path, config: str, environ: dict[str, str], named: str
) -> None:
    """Otherwise the app would fail at AWS without a reason."""
    (home / ".aws" / "config").write_text(config)
    credentials = developers_credentials({"HOME": str(home), **environ})

    assert credentials.key_id.startswith("AKIASIMULATED")
    assert f"your AWS credentials come from {named}, and simulate" in credentials.doubt


@pytest.mark.parametrize("text", ["", "no section\n", "[default]\nregion = eu-central-1\n", "\x00"])
def test_somebody_without_credentials_gets_made_up_ones_without_a_word(home: Path, text: str) -> None:
    """Most apps need none."""
    (home / ".aws" / "credentials").write_text(text)
    credentials = developers_credentials({"HOME": str(home)})

    assert credentials.key_id.startswith("AKIASIMULATED")
    assert credentials.doubt == ""


def test_no_secret_is_shown_with_the_object() -> None:
    """It may end up in a traceback."""
    assert "secret" not in repr(Credentials("AKIA", "secret", "session"))


def test_under_snapstart_the_developers_own_is_out_of_reach_of_app_and_extensions(tmp_path: Path) -> None:
    """Neither variables nor files lead to it; the endpoint does."""
    environ = dict.fromkeys(DEVELOPERS_OWN, "mine") | {"AWS_CONFIG_FILE": "/home/me/.aws/config", "APP": "1"}
    credentials = Credentials("AKIA", "secret", "")
    extension = extension_environment(environ, "127.0.0.1:9", str(tmp_path), Settings(), credentials)

    for env in (extension, runtime_environment(extension, environ, autostart=False)):
        assert not DEVELOPERS_OWN & env.keys()
        assert env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == "http://127.0.0.1:9/2021-04-23/credentials"
        assert env["AWS_CONTAINER_AUTHORIZATION_TOKEN"] == credentials.authorization
        assert env["AWS_CONFIG_FILE"] == env["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
        assert env["APP"] == "1"
    assert environ["AWS_ACCESS_KEY_ID"] == "mine"


def test_on_demand_the_variables_stay(tmp_path: Path) -> None:
    """There Lambda provides credentials in variables."""
    environ = {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "s"}
    env = extension_environment(environ, "127.0.0.1:9", str(tmp_path), Settings(init_type="on-demand"), None)

    assert env["AWS_ACCESS_KEY_ID"] == "mine"
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" not in env


@pytest.mark.parametrize(
    ("environ", "region"),
    [({}, "us-east-1"), ({"AWS_DEFAULT_REGION": "eu-west-1"}, "eu-west-1"), ({"AWS_REGION": "eu-west-3"}, "eu-west-3")],
)
def test_both_names_of_the_region_are_set(tmp_path: Path, environ: dict[str, str], region: str) -> None:
    """As on Lambda, which has no configuration file to find it in."""
    env = extension_environment(environ, "127.0.0.1:9", str(tmp_path), Settings(), None)

    assert (env["AWS_REGION"], env["AWS_DEFAULT_REGION"]) == (region, region)
