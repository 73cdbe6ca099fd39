"""Whether this life only observes: decided before we register, since that says which events we want.

Nothing cooperates then: we see the restore by the clock and by the first INVOKE. Imported before everything else.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_INITIALIZATION_TYPE = "AWS_LAMBDA_INITIALIZATION_TYPE"
ADAPTER_FILE = "lambda-adapter"
"""The adapter registers under this name, so its file must be called that."""
# As config and adapter_config have them, which take too long to import here.
READINESS_PORT, OLDER_READINESS_PORT = "AWS_LWA_READINESS_CHECK_PORT", "READINESS_CHECK_PORT"
DEFAULT_PORT = "9555"
OFF = ("off", "false")
"""YAML 1.1 reads an `off` without quotes as false, and CloudFormation gives the function that word."""


def is_snap_start(environ: "Mapping[str, str]") -> bool:
    """Whether a restore may come. The client has the same rule in snapext.guest.own, which we do not import."""
    return environ.get(ENV_INITIALIZATION_TYPE) == "snap-start"


def is_off(environ: "Mapping[str, str]") -> bool:
    """Whether snapext is to do nothing in this function. The client has the same rule in snapext.guest.own."""
    return environ.get("SNAPEXT_MODE") in OFF


def observes(environ: "Mapping[str, str]", folder: str) -> bool:
    """`auto` chooses it last: where there is a web adapter, and its readiness check does not point at us.

    folder: where the extensions are. Without an adapter `auto` waits for a checkpoint, and holds nothing back.
    """
    mode = environ.get("SNAPEXT_MODE", "auto")
    if not is_snap_start(environ) or mode != "auto":
        return mode == "observe" and is_snap_start(environ)
    older_counts = READINESS_PORT not in environ and OLDER_READINESS_PORT in environ
    points_at = environ.get(OLDER_READINESS_PORT if older_counts else READINESS_PORT)
    ours = environ.get("SNAPEXT_PORT", DEFAULT_PORT).lstrip("0")  # a number there, and a text here
    return points_at != ours and os.path.exists(os.path.join(folder, ADAPTER_FILE))
