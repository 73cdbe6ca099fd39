"""How a start command is read: its server, workers, port, and what keeps it from being linked."""

from __future__ import annotations

from pathlib import Path

from helpers import for_each
from snapext_tools.attach.attaching import attach
from snapext_tools.doctor.dockerfile import INSTALL_LINE, LABEL_LINE, read_dockerfile
from snapext_tools.doctor.examine import diagnose
from snapext_tools.doctor.report import lines
from snapext_tools.doctor.settings import ImageFile, Place
from snapext_tools.doctor.start import read_start
from snapext_tools.doctor.template import read_template


def started(text, has=lambda _: False, **variables):
    """What a script starts."""
    return read_start(text, lambda line: Place("run.sh", "", line), variables, has)


@for_each(
    "text, server, workers, port",
    [
        ("exec gunicorn -w 4 -b 127.0.0.1:8000 app:app", "gunicorn", 4, 8000),
        ("gunicorn -w4 --bind=0.0.0.0:9000 app", "gunicorn", 4, 9000),
        ("exec gunicorn --workers=3 -b unix:/tmp/s app", "gunicorn", 3, None),
        ("PORT=7000 gunicorn app", "gunicorn", 1, 7000),
        ("gunicorn app", "gunicorn", 1, 8000),
        ("gunicorn -c conf.py app", "gunicorn", None, None),
        ("gunicorn -c conf.py -w 2 app", "gunicorn", 2, None),
        ("export WEB_CONCURRENCY=5\ngunicorn -b :8080 app", "gunicorn", 5, 8080),
        ("exec python -m uvicorn --port=$PORT main:app", "uvicorn", 1, 3000),
        ("uvicorn --port ${NOWHERE} main:app", "uvicorn", 1, None),
        ("uvicorn --port ${NOWHERE:-8081} --workers ${N:-2} a:b", "uvicorn", 2, 8081),
        ("uvicorn --workers $(nproc) a:b", "uvicorn", None, 8000),
        ("hypercorn -w 2 --bind 127.0.0.1:8080 a:b", "hypercorn", 2, 8080),
        ("waitress-serve --listen=127.0.0.1:8080 a:b", "waitress-serve", 1, 8080),
        ("uv run uvicorn a:b", "uvicorn", 1, 8000),
        ("fastapi run --port 8080", "fastapi", 1, 8080),
        ("exec .venv/bin/gunicorn \\\n  -w 2 \\\n  app", "gunicorn", 2, 8000),
        ("flask --app x run -p 8080", "flask", 1, 8080),
        ("python app.py", "python", None, None),
        ("exec node index.js", "node", None, None),
        ("nginx -g 'daemon off;' &\nexec gunicorn -w 2 app", "gunicorn", 2, None),
        ("gunicorn a & gunicorn b", "gunicorn", None, None),
        ("uwsgi --http :8080 -p 3 --wsgi-file a.py", "uwsgi", 3, 8080),
        ("uwsgi app.ini", "uwsgi", None, None),
    ],
)
def test_a_server_is_recognised_with_its_workers_and_its_port(text, server, workers, port):
    """In every way to write them; what cannot be read without running it is unknown."""
    start = started(f"#!/bin/bash\nset -e\n{text}\n", PORT="3000" if "$PORT" in text else "")

    assert (server, workers, port) == (start.server, start.workers, start.port)


def test_a_servers_own_file_of_settings_leaves_its_workers_unknown():
    """gunicorn reads gunicorn.conf.py without being told."""
    assert started("gunicorn app", lambda name: name == "gunicorn.conf.py").workers is None


@for_each(
    "text",
    [
        "",
        "echo 'unclosed\n",
        "# gunicorn app\n",
        "pip install gunicorn && python -m pip install uvicorn\n",
        "if command -v gunicorn; then echo gunicorn; fi\n",
        "set -e\n",
    ],
)
def test_a_script_that_starts_no_server_that_is_known_starts_none(text):
    """A name in a comment or among the words of another command is no start."""
    assert started(text) is None


@for_each(
    "text, unlinked, replaces",
    [
        ("exec gunicorn app", "", ""),
        ("PYTHONPATH=$LAMBDA_TASK_ROOT:$PYTHONPATH exec gunicorn app", "", ""),
        ("export PYTHONPATH=/var/task/lib\ngunicorn app", "", "PYTHONPATH=/var/task/lib"),
        ("PYTHONPATH=lib exec gunicorn app", "", "PYTHONPATH=lib"),
        ("unset PYTHONPATH\ngunicorn app", "", "unset PYTHONPATH"),
        ("exec python -I -m uvicorn a:b", "python -I", ""),
        ("exec python3 -S app.py", "python -S", ""),
        ("exec python -Es app.py", "python -E -s", ""),
        ("exec python -E app.py", "", ""),
        ("exec env -i PATH=$PATH gunicorn app", "env -i", ""),
        ("exec env -i PYTHONPATH=$PYTHONPATH gunicorn app", "", ""),
        ("export PYTHONPATH=x\nexport PYTHONNOUSERSITE=1\ngunicorn app", "PYTHONNOUSERSITE, which", "PYTHONPATH=x"),
        ("PYTHONUSERBASE=/y\nexport PYTHONPATH=x\ngunicorn app", "PYTHONUSERBASE, which", "PYTHONPATH=x"),
        ("PYTHONNOUSERSITE=1 gunicorn app", "", ""),
    ],
)
def test_what_keeps_python_from_being_linked_is_seen(text, unlinked, replaces):
    """PYTHONPATH, the user site, and the options that ignore both."""
    start = started(text)

    assert start.unlinked.startswith(unlinked)
    assert bool(start.unlinked) is bool(unlinked)
    assert replaces == start.replaces


IMAGE = """\
FROM python:3.12-slim AS snapext
RUN pip install lambda-snapext && snapext layer install / --precompile python3.12

FROM python:3.12-slim
LABEL com.amazonaws.lambda.feature.snapstart="Allow"
# a comment
COPY --from=public.ecr.aws/awsguru/aws-lambda-adapter:0.9.1 /lambda-adapter /opt/extensions/lambda-adapter
COPY --from=snapext /opt/ /opt/
COPY --from=snapext /usr/local/lib/python3.12/site-packages/snapext.pth /usr/local/lib/python3.12/site-packages/
ENV AWS_LWA_PORT=8000 \\
    # between the lines
    SNAPEXT_WORKERS=2
ENV NAME of the old form
CMD ["gunicorn", "-w", "2", "-b", "127.0.0.1:8000", "app:app"]
"""


def image(folder, text, **variables):
    (folder / "Dockerfile").write_text(text)
    return read_dockerfile(folder / "Dockerfile", variables)


def test_a_dockerfile_is_read_to_its_last_stage(tmp_path):
    """With what it copies from the others, in the forms of ENV, and the lines of all."""
    found = image(tmp_path, IMAGE)

    assert isinstance(found, ImageFile)
    assert found.variables == {"AWS_LWA_PORT": "8000", "SNAPEXT_WORKERS": "2", "NAME": "of the old form"}
    assert (found.overlay, found.linked, found.labelled, found.trusted) == (True, True, True, True)
    assert (found.adapter, found.adapter_place.line) == ("public.ecr.aws/awsguru/aws-lambda-adapter:0.9.1", 7)
    assert (found.start.server, found.start.workers, found.start.port) == ("gunicorn", 2, 8000)
    assert found.start.place.line == 14


@for_each(
    "old, new, overlay, linked, trusted",
    [
        ("COPY --from=snapext /opt/ /opt/\n", "", False, True, True),
        ("RUN pip install lambda-snapext && snapext layer install / --precompile python3.12", "", False, True, True),
        ("COPY --from=snapext /usr", "COPY --from=snapext /usr2", True, True, True),
        ("snapext.pth", "other.pth", True, False, True),
        ("snapext.pth", "other.pth\nENV PYTHONPATH=/opt/snapext/python/snapext/autostart:/app\n#", True, True, True),
        ("\nFROM python:3.12-slim\n", "\nFROM registry.example.com/base:1\n", True, True, False),
        ("\nFROM python:3.12-slim\n", "\nFROM public.ecr.aws/docker/library/python:3.12\n", True, True, True),
        ("\nFROM python:3.12-slim\n", "\nFROM public.ecr.aws/lambda/python:3.12\n", True, True, True),
        ("\nFROM python:3.12-slim\n", "\nFROM snapext AS last\n", True, True, True),
    ],
)
def test_what_is_in_an_image_is_found_and_what_may_be_in_its_base_is_said(tmp_path, old, new, overlay, linked, trusted):
    """Only a public base image is known to have nothing of it."""
    found = image(tmp_path, IMAGE.replace(old, new))

    assert (overlay, linked, trusted) == (found.overlay, found.linked, found.trusted)


@for_each(
    "cmd, port",
    [
        ("CMD exec uvicorn --port=$PORT main:app", 7000),
        ('CMD ["sh", "-c", "exec uvicorn --port=${PORT} main:app"]', 7000),
        ('ENTRYPOINT ["uvicorn"]\nCMD ["--port", "9000", "main:app"]', 9000),
        ('CMD ["old"]\nENTRYPOINT uvicorn --port 9001 main:app', 9001),
    ],
)
def test_the_start_command_is_that_of_entrypoint_and_cmd(tmp_path, cmd, port):
    """In shell form and in exec form, with the variables of the template."""
    assert port == image(tmp_path, f"FROM python:3.12\nENV PORT=1\n{cmd}\n", PORT="7000").start.port


@for_each("text, said", [("", "has no FROM"), ("RUN x\n", "has no FROM"), ("a\0", "not text")])
def test_what_is_no_dockerfile_is_said_in_one_line(tmp_path, text, said):
    """The function is judged without it."""
    assert said in image(tmp_path, text)


def test_what_a_private_base_image_may_set_is_not_said_to_be_missing(tmp_path):
    """Of a public one it is known that it sets nothing of the adapter."""
    (tmp_path / "template.yaml").write_text(
        "Resources:\n  App:\n    Type: AWS::Serverless::Function\n    Metadata: {Dockerfile: Dockerfile}\n"
        "    Properties: {PackageType: Image, Environment: {Variables: {SNAPEXT_SETTLE_MS: 500}}}\n"
    )
    (tmp_path / "Dockerfile").write_text("FROM example.com/base:1\n")
    (private,) = diagnose(read_template(tmp_path / "template.yaml"))
    (tmp_path / "Dockerfile").write_text("FROM python:3.12\n")
    (public,) = diagnose(read_template(tmp_path / "template.yaml"))

    assert "readiness-port" not in {finding.rule for finding in private.findings}
    assert "its base image example.com/base:1 may set it" in dict(private.not_judged)["the readiness port"]
    assert "readiness-port" in {finding.rule for finding in public.findings}


def test_the_adapter_of_a_stage_has_the_stages_release(tmp_path):
    """A stage that is the adapter's image is read by its reference, any other by its name."""
    copy = "COPY --from=lwa /lambda-adapter /opt/extensions/lambda-adapter\n"
    assert image(tmp_path, f"FROM x/aws-lambda-adapter:0.6.2 AS lwa\nFROM python:3.8\n{copy}").adapter.endswith(
        ":0.6.2"
    )
    assert image(tmp_path, f"FROM rust:1.80 AS lwa\nFROM python:3.8\n{copy}").adapter == "lwa"
    assert image(tmp_path, f"FROM rust:1.80 AS lwa\nFROM python:3.8\n{copy}").base_place.line == 2


def test_an_image_gets_the_same_lines_everywhere(tmp_path):
    """From the doctor, from attach, and from the page for images; without the label where it is there."""
    text = (
        "Resources:\n  App:\n    Type: AWS::Serverless::Function\n    Metadata: {DockerContext: .}\n"
        "    Properties: {PackageType: Image, Environment: {Variables: {SNAPEXT_SETTLE_MS: 500}}}\n"
    )
    template = tmp_path / "template.yaml"
    template.write_text(text)
    for label in ("", f"{LABEL_LINE}\n"):
        (tmp_path / "Dockerfile").write_text(f"FROM python:3.12\n{label}CMD x\n")
        diagnoses = diagnose(read_template(template))
        (change,) = [one.change for one in diagnoses[0].findings if one.rule == "image-without-snapext"]
        expected = [INSTALL_LINE] if label else [INSTALL_LINE, LABEL_LINE]

        assert change.line.split("\n") == expected
        assert [line.strip() for line in lines(diagnoses) if line.strip() in (INSTALL_LINE, LABEL_LINE)] == expected
        assert "\n" not in change.in_one_line
        left = attach(template, None).left
        assert [line for line in left if line.startswith(("RUN", "LABEL"))] == expected
    page = (Path(__file__).parents[3] / "docs" / "start-image.md").read_text()
    assert f"```dockerfile\n{INSTALL_LINE}\n{LABEL_LINE}\n```" in page
