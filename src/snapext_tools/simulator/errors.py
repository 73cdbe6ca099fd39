"""The errors of the simulator alone."""

from __future__ import annotations

from snapext.errors import SnapextError


class SimulationError(SnapextError):
    """A simulated environment could not be set up or driven."""


class LambdaApiError(SnapextError):
    """The Runtime API gave an answer that the stand-in for the web adapter cannot go on with."""

    def __init__(self, endpoint: str, status: int, body: str) -> None:
        super().__init__(f"{endpoint} answered {status}: {body}")
