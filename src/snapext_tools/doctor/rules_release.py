"""What can be wrong with the web adapter's release. A rule is pure, and yields what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snapext_extension import adapter_config
from snapext_tools.doctor.dockerfile import ADAPTER
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.ours import our_port
from snapext_tools.doctor.rules_adapter import READINESS_PORT, adapter_layer, has_no_gate
from snapext_tools.doctor.rules_image import image_of
from snapext_tools.doctor.settings import Change, Function, UnreadableError

OLDEST = (0, 7)
"""The first release that reads names with AWS_LWA_. Source: the notes of v0.7.0 in the adapter's CHANGELOG.md (its pull
request 207).
"""
PUBLIC_ACCOUNT, LAST_OLD_LAYER = "753240598075", 15
"""The adapter's own account outside of China, and the layer's number of 0.6.4, the last release before 0.7.0.

Source: the adapter's README of that release, for both processors. Another account counts its layers itself.
"""
TAKE = "0.9.1 or 1.0.x"


def old_adapter(function: Function) -> Iterator[Finding]:
    """An adapter before 0.7.0 does not know the variable that points it at snapext's gate."""
    facts = function.beyond_variables()
    old_name, port = READINESS_PORT[1], our_port(function)
    if has_no_gate(function) or port not in map(function.variables.get, READINESS_PORT[:1]):
        return  # another rule judges the port
    if function.variables.get(old_name) == port:
        return  # which each release reads
    if facts.image:
        image = image_of(function)
        if image is None or image.adapter is None:
            return
        release = release_of(image.adapter)
        if release is None:
            raise UnreadableError(f"the release of {image.adapter or 'the copied file'} is not in its name")
        if release < OLDEST:
            line = f"COPY --from=public.ecr.aws/awsguru/aws-lambda-adapter:0.9.1 /lambda-adapter {ADAPTER}"
            change = Change("change", image.adapter_place or image.place, line)
            yield _too_old(image.adapter.rpartition(":")[2], old_name, change)
        return
    layer = adapter_layer(function) or ""
    found = re.search(r":(\d{12}):layer:(LambdaAdapterLayer(?:X86|Arm64)):(\d+)\b", layer)
    if found is None:
        return  # the template does not give its number
    if found[1] != PUBLIC_ACCOUNT:
        raise UnreadableError(
            f"the account {found[1]} counts its layers itself: {found[2]}:{found[3]} names no release"
        )
    if int(found[3]) <= LAST_OLD_LAYER:
        place = function.places.get(("Layers",), function.root)
        line = f"<the ARN of the version of {found[2]} that has {TAKE}>"
        yield _too_old(f"of the layer {found[2]}:{found[3]}", old_name, Change("change", place, line))


def _too_old(which: str, old_name: str, change: Change) -> Finding:
    name = adapter_config.ENV_LWA_READINESS_PORT
    return Finding(
        Severity.ERROR,
        f"the web adapter {which} does not know {name}: take {TAKE}",
        f"before 0.7.0 it reads {old_name} only: it asks the app and not snapext's gate, and the first requests may be "
        "served before the after-restore hooks have run",
        change,
    )


def release_of(image: str) -> tuple[int, int] | None:
    """Major and minor of the release in an image's reference; None when it has none, as with `latest`."""
    found = re.search(r":v?(\d+)\.(\d+)", image)
    return None if found is None else (int(found[1]), int(found[2]))
