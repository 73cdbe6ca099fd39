"""Credentials as SnapStart provides them: not in variables, which a snapshot would keep, but at an endpoint.

The path, the token in the `Authorization` header and the keys of the answer are those of AWS's emulator
(rapi/handler/credentials.go, rapidcore/env/environment.go); botocore and every other SDK reads them.
"""

from __future__ import annotations

import configparser
import contextlib
import datetime
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from snapext_tools.simulator.replies import Headers, Reply

CREDENTIALS_PATH: Final = "/2021-04-23/credentials"
ENV_KEY_ID = "AWS_ACCESS_KEY_ID"
ENV_SECRET = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
ENV_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105
ENV_PROFILE = "AWS_PROFILE"
ENV_CREDENTIALS_FILE = "AWS_SHARED_CREDENTIALS_FILE"
ENV_CONFIG_FILE = "AWS_CONFIG_FILE"
ENV_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
ENV_AUTHORIZATION = "AWS_CONTAINER_AUTHORIZATION_TOKEN"

DEVELOPERS_OWN: Final = frozenset(
    {
        ENV_KEY_ID,
        ENV_SECRET,
        ENV_TOKEN,
        ENV_PROFILE,
        "AWS_DEFAULT_PROFILE",
        "AWS_SECURITY_TOKEN",
        "AWS_CREDENTIAL_EXPIRATION",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    }
)
"""The variables that an SDK would read before the endpoint. None of them exists in a SnapStart environment."""

_OTHER_SOURCES: Final = frozenset(
    {"credential_process", "credential_source", "role_arn", "sso_account_id", "sso_session", "web_identity_token_file"}
)
"""The settings that a profile may have instead of keys."""

_LIFE: Final = datetime.timedelta(hours=1)
_MADE_UP: Final = ("AKIASIMULATED0000000", "simulated", "simulated")
_NOT_FOUND: Final = Reply(404, b"cannot get credentials for the provided token\n", {"Content-Type": "text/plain"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """The endpoint's answer. `doubt`: why these are made up although the developer has some; empty otherwise."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    session_token: str = field(repr=False)
    doubt: str = ""
    authorization: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def variables(self, address: str) -> dict[str, str]:
        """The variables by which an SDK finds the endpoint, and nothing else."""
        return {
            ENV_URI: f"http://{address}{CREDENTIALS_PATH}",
            ENV_AUTHORIZATION: self.authorization,
            ENV_CREDENTIALS_FILE: os.devnull,
            ENV_CONFIG_FILE: os.devnull,
        }

    def answer(self, headers: Headers) -> Reply:
        """GET /2021-04-23/credentials."""
        if headers.get("authorization") != self.authorization:
            return _NOT_FOUND
        content = {
            "AccessKeyId": self.key_id,
            "SecretAccessKey": self.secret,
            "Token": self.session_token,
            "Expiration": f"{datetime.datetime.now(datetime.UTC) + _LIFE:%Y-%m-%dT%H:%M:%SZ}",
        }
        return Reply(200, json.dumps(content).encode(), {"Content-Type": "text/plain; charset=utf-8"})


def developers_credentials(environ: Mapping[str, str]) -> Credentials:
    """The developer's own, from the variables or AWS's files; made-up ones where these have no keys."""
    if environ.get(ENV_KEY_ID) and environ.get(ENV_SECRET):
        return Credentials(environ[ENV_KEY_ID], environ[ENV_SECRET], environ.get(ENV_TOKEN, ""))
    profile = environ.get(ENV_PROFILE) or environ.get("AWS_DEFAULT_PROFILE") or "default"
    settings = _settings_of(environ, profile)
    if "aws_access_key_id" in settings and "aws_secret_access_key" in settings:
        keys = (settings["aws_access_key_id"], settings["aws_secret_access_key"])
        return Credentials(*keys, settings.get("aws_session_token", ""))
    sources = sorted((DEVELOPERS_OWN & environ.keys()) | (_OTHER_SOURCES & settings.keys()))
    if not sources:
        return Credentials(*_MADE_UP)
    doubt = (
        f"your AWS credentials come from {', '.join(sources)}, and simulate cannot turn that into keys: the app gets "
        f"made-up keys, which AWS refuses. Set {ENV_KEY_ID} and {ENV_SECRET} "
        "(`aws configure export-credentials --format env` prints them)"
    )
    return Credentials(*_MADE_UP, doubt=doubt)


def _settings_of(environ: Mapping[str, str], profile: str) -> dict[str, str]:
    """The settings of a profile in the shared files. An unreadable file counts as empty, as for an SDK."""
    home = os.path.join(environ.get("HOME", ""), ".aws")
    in_config = profile if profile == "default" else f"profile {profile}"
    settings: dict[str, str] = {}
    for variable, name, section in (
        (ENV_CONFIG_FILE, "config", in_config),
        (ENV_CREDENTIALS_FILE, "credentials", profile),
    ):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        with contextlib.suppress(configparser.Error, UnicodeDecodeError):
            parser.read(os.path.expanduser(environ.get(variable) or os.path.join(home, name)), encoding="utf-8")
            settings |= dict(parser[section]) if parser.has_section(section) else {}
    return settings
