"""The 49 shapes of the web adapter's examples: judged without a false word, and attached to where that is possible."""

from __future__ import annotations

import pytest
from adapter_shapes import SHAPES

from helpers import for_each
from snapext_tools.attach.attaching import attach
from snapext_tools.attach.needs import AttachError
from snapext_tools.doctor.examine import diagnose
from snapext_tools.doctor.template import read_template


@pytest.fixture
def written(tmp_path):
    """Writes a shape, in a folder of its own."""

    def write(shape, **how):
        for name, text in shape.files.items():
            path = tmp_path / shape.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        (tmp_path / shape.name).mkdir(exist_ok=True)
        (tmp_path / shape.name / "template.yaml").write_text(shape.template(**how))
        return tmp_path / shape.name / "template.yaml"

    return write


def found(path):
    """The ids of what is found, which name the errors and warnings, and the reasons for what was not judged."""
    (diagnosis,) = diagnose(read_template(path))
    return {finding.rule for finding in diagnosis.findings}, dict(diagnosis.not_judged)


def test_there_are_as_many_shapes_as_the_adapter_has_examples():
    """Each with a name of its own."""
    assert len({shape.name for shape in SHAPES}) == len(SHAPES) == 49


@for_each("shape", SHAPES)
def test_each_shape_is_judged_without_a_false_word(written, shape):
    """As it is, and with SnapStart: exactly what is expected, and only a build that is not there is not judged."""
    for snap_start, expected in ((False, shape.off), (True, shape.on)):
        rules, unread = found(written(shape, snap_start=snap_start))

        assert rules == expected, f"with SnapStart: {snap_start}"
        assert set(unread) <= {"the handler script", "the start command"}
        assert not unread or "BuildMethod" in shape.metadata or not shape.files


ZIPS = [shape for shape in SHAPES if "PackageType" not in shape.properties]
IMAGES = [shape for shape in SHAPES if shape not in ZIPS]


@for_each("shape", [*(zip_ for zip_ in ZIPS if zip_.attaches), *ZIPS[:4], *IMAGES[::4]])
def test_snapext_is_attached_to_each_shape_that_it_can_be_attached_to(written, shape):
    """The doctor then finds nothing but what was wrong already; to the others it is refused, with the reason."""
    path = written(shape)
    if not shape.attaches:
        with pytest.raises(AttachError, match=r"nothing to attach|has no Python"):
            attach(path, None)
        return
    change = attach(path, None)
    path.write_text(change.text)
    for name, text in shape.files.items():
        if name.endswith("Dockerfile"):
            (path.parent / name).write_text(text + "\n".join(change.left[:3]) + "\n")
    rules, unread = found(path)

    assert rules == shape.left
    assert unread == {} or "SNAPEXT_WORKERS" in str(unread)
    assert attach(path, "App").patch == ()
