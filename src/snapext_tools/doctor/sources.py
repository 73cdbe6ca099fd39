"""Where settings can be read from, each known by its shape: a file, a folder, or standard input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snapext_tools.doctor.deployed import deployed_functions, is_deployed
from snapext_tools.doctor.env_file import parse_env, read_text
from snapext_tools.doctor.rules_before import SERVERLESS_PACKAGE
from snapext_tools.doctor.settings import Function, SourceError
from snapext_tools.doctor.template import functions_of
from snapext_tools.doctor.terraform import is_terraform, terraform_functions
from snapext_tools.doctor.tree import NotAMappingError, parse_tree

STDIN = "-"
ACCEPTED = (
    "a SAM or CloudFormation template, a cdk.out folder (cdk synth), the JSON of `aws lambda "
    "get-function-configuration --function-name NAME`, of `terraform show -json` or of `serverless package`, or an "
    "env file"
)
_ENV_LINE = re.compile(r"\s*(?:export\s+)?[A-Za-z_][\w.-]*\s*=")
# What people have, and the command that makes of it what can be read: by a word of its text.
_TEMPLATE = re.compile(r"^\s*[\"']?Resources[\"']?\s*:", re.MULTILINE)
_SOURCES = (
    (
        r"^\s*(?:terraform|provider|module|variable|locals|resource|data|output)(?:\s+\"[^\"]*\")*\s*\{",
        "Terraform's own files",
        "terraform plan -out plan && terraform show -json plan | snapext doctor -",
    ),
    (r"^(?:import|from)\s.*aws[-_]cdk|require\(.aws-cdk", "a CDK app", "cdk synth && snapext doctor cdk.out"),
    (r"^FROM\s", "a Dockerfile, which is read beside its template", "snapext doctor template.yaml"),
)
_SERVERLESS_YML = "serverless package && snapext doctor .serverless"


def read_source(name: str, stdin: str | None = None) -> list[Function]:
    """The functions of a file or a folder; of standard input where the name is `-`.

    Raises:
        SourceError: it cannot be read, or is none of what is accepted; the text names the command that makes one.
    """
    if name == STDIN:
        return _of_text(stdin or "", "standard input", Path())
    path = Path(name)
    if path.is_dir():
        return _of_folder(path)
    return _of_text(_read(path), name, path.parent)


def _read(path: Path) -> str:
    try:
        if path.is_file():
            with path.open("rb") as file:
                if file.read(4) == b"PK\3\4":
                    raise SourceError(
                        f"{path} is a zip: of a plan of Terraform, run terraform show -json {path} | snapext doctor -; "
                        "a function's package is read beside its template"
                    )
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    return read_text(path)


def _of_folder(folder: Path) -> list[Function]:
    templates = sorted(folder.glob("*.template.json"))
    if (folder / "manifest.json").is_file() or templates:  # cdk.out, with a folder for each stage
        found = list(_of_assembly(folder))
        if not found:
            raise SourceError(f"{folder} has no function in any of its templates")
        return found
    for name in (SERVERLESS_PACKAGE, "template.yaml", "template.yml", "template.json"):
        if (folder / name).is_file():
            return read_source(str(folder / name))
    hints = {
        "cdk.json": "cdk synth && snapext doctor cdk.out",
        "serverless.yml": _SERVERLESS_YML,
        "*.tf": _SOURCES[0][2],
    }
    for pattern, command in hints.items():
        if any(folder.glob(pattern)):
            raise SourceError(f"{folder} has no template; run there: {command}")
    raise SourceError(f"cannot read {folder}: it is a directory, and neither cdk.out nor a folder with template.yaml")


def _of_assembly(folder: Path) -> Iterator[Function]:
    for path in sorted(folder.rglob("*.template.json")):
        if "asset." in str(path.relative_to(folder).parent):
            continue
        tree, syntax = parse_tree(read_text(path), str(path))
        try:
            yield from functions_of(tree, syntax, str(path), path.parent)
        except SourceError:
            continue  # a stack without a function


def _of_text(text: str, name: str, folder: Path) -> list[Function]:
    document = _json(text)
    if isinstance(document, dict) and is_terraform(document):
        return terraform_functions(document, name, folder)
    if isinstance(document, dict) and {"serial", "lineage"} <= document.keys():
        raise SourceError(f"{name} is a state file of Terraform; run: terraform show -json | snapext doctor -")
    if document is None and (first := _first_line(text)) and _ENV_LINE.match(first):
        return [parse_env(text, name)]
    for pattern, what, command in _SOURCES:
        if document is None and not _TEMPLATE.search(text) and re.search(pattern, text, re.MULTILINE):
            raise SourceError(f"{name} is {what}; run: {command}")
    return _of_tree(text, name, folder)


def _of_tree(text: str, name: str, folder: Path) -> list[Function]:
    none = SourceError(f"{name} is none of what the doctor reads: {ACCEPTED}")
    try:
        tree, syntax = parse_tree(text, name)
    except NotAMappingError:
        raise none from None
    except SourceError:  # where the error is helps only with what was meant as one of these
        if re.search(r"Resources|FunctionName|functions", text):
            raise
        raise none from None
    keys = tree.children().keys()
    if "Resources" in keys:
        return functions_of(tree, syntax, name, folder)
    if is_deployed(tree):
        return deployed_functions(tree, name)
    if "service" in keys and {"functions", "provider"} & keys:
        raise SourceError(f"{name} is a serverless.yml; run: {_SERVERLESS_YML}")
    if "artifacts" in keys and "version" in keys:
        raise SourceError(f"{name} is the manifest of a cdk.out folder; run: snapext doctor {folder}")
    raise none


def _json(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _first_line(text: str) -> str:
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return next(lines, "")
