"""The commands that publish the layer in regions. One zip serves both processors."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from snapext.errors import SnapextError
from snapext.wire import VERSION

RUNTIMES = ("python3.12", "python3.13", "python3.14")
DEFAULT_ZIP = Path("dist/snapext-layer.zip")
REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_RUN_TIMEOUT_S = 300.0


class PublishError(SnapextError):
    """A layer that was not published. The text is one line that says why."""


def command(region: str, processors: Sequence[str], *, name: str, zip_file: Path) -> list[str]:
    """The `aws` command that publishes a version in one region, and prints its ARN."""
    return [
        *("aws", "lambda", "publish-layer-version", "--region", region, "--layer-name", name),
        *("--zip-file", f"fileb://{zip_file}"),
        *("--compatible-runtimes", *RUNTIMES),
        *("--compatible-architectures", *processors),
        *("--description", f"snapext {VERSION}", "--license-info", "MIT"),
        *("--query", "LayerVersionArn", "--output", "text"),
    ]


def sharing(region: str, version: str, *, name: str) -> list[str]:
    """The `aws` command that lets every account use a version of the layer."""
    return [
        *("aws", "lambda", "add-layer-version-permission", "--region", region, "--layer-name", name),
        *("--version-number", version, "--statement-id", "public", "--principal", "*"),
        *("--action", "lambda:GetLayerVersion", "--query", "RevisionId", "--output", "text"),
    ]


def shown(
    regions: Sequence[str], processors: Sequence[str], *, name: str, zip_file: Path, public: bool = False
) -> Iterator[str]:
    """The commands as lines for a shell: the zip first, where it does not exist."""
    if not zip_file.is_file():
        yield _build(zip_file)
    for region in regions:
        publish = shlex.join(command(region, processors, name=name, zip_file=zip_file))
        if public:
            share = shlex.join(sharing(region, "VERSION", name=name)).replace("VERSION", '"${arn##*:}"')
            publish = f'arn=$({publish}) && echo "$arn" && {share}'
        yield publish


def _build(zip_file: Path) -> str:
    """What makes the zip, for a shell; `layer build` makes no folder."""
    build = shlex.join(["snapext", "layer", "build", "-o", str(zip_file)])
    return build if zip_file.parent.is_dir() else f"mkdir -p {shlex.quote(str(zip_file.parent))} && {build}"


def run(
    regions: Sequence[str], processors: Sequence[str], *, name: str, zip_file: Path, public: bool = False
) -> Iterator[str]:
    """Run them, and yield each region's ARN. Raises PublishError at the first that fails."""
    if not zip_file.is_file():
        raise PublishError(f"{zip_file} does not exist; make it: {_build(zip_file)}")
    for region in regions:
        arn = _aws(region, command(region, processors, name=name, zip_file=zip_file))
        yield f"{region}: {arn}"
        if public:  # the ARN has been said by now: a version that is not shared can be shared by hand
            _aws(region, sharing(region, arn.rpartition(":")[2], name=name))


def _aws(region: str, words: Sequence[str]) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_RUN_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise PublishError("there is no `aws` command: install AWS's command line, or leave out --run") from None
    except subprocess.TimeoutExpired:
        raise PublishError(f"{region}: aws {words[2]} did not finish within {_RUN_TIMEOUT_S:g} s") from None
    if done.returncode:
        reason = " ".join(done.stderr.split()) or "it printed no reason"
        raise PublishError(f"{region}: aws {words[2]} ended with status {done.returncode}: {reason}")
    return done.stdout.strip()
