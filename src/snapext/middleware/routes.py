"""The two requests that the web adapter (1.1 and later) sends to the app around the snapshot. No I/O.

An empty POST to AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH before the snapshot, and one to ..._AFTER_RESTORE_PATH after
the restore, from loopback. What comes from outside comes from loopback as well, by the same adapter, but carries its
`x-amzn-request-context` and `x-amzn-lambda-context`.
"""

from __future__ import annotations

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENV_PATHS = {
    BEFORE_SNAPSHOT: "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH",
    AFTER_RESTORE: "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH",
}
FROM_OUTSIDE = ("x-amzn-request-context", "x-amzn-lambda-context")
LOOPBACK = ("127.", "::1", "::ffff:127.")


class Routes:
    """The paths that are still to be answered, each once; empty where the adapter is not set to post."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.paths: dict[str, str] = {}
        self.problem: str | None = None
        """Why none is answered, though the adapter is set to post."""
        for phase, variable in ENV_PATHS.items():
            path = environ.get(variable)
            if path and self.paths.setdefault("/" + path.lstrip("/"), phase) != phase:
                self.problem = (
                    f"{' and '.join(ENV_PATHS.values())} are the same path ({path}), so nobody can tell what the web "
                    "adapter's POST stands for: the middleware answers neither. Set two different paths"
                )
        if self.problem:
            self.paths.clear()

    def is_set(self, phase: str) -> bool:
        return phase in self.paths.values()

    def take(self, phase: str) -> bool:
        """Whether the caller is to answer this phase; the next one is told that there is no such route."""
        path = next((path for path, known in list(self.paths.items()) if known == phase), None)
        return path is not None and self.paths.pop(path, None) is not None

    def phase(
        self, path: str, query: str | bytes, version: str, peer: str, header: Callable[[str], str | None]
    ) -> str | None:
        """The phase that a POST stands for, or None: then the request is the app's.

        peer: the address of the client. header: the value of a header, by its name in lower case.
        """
        phase = self.paths.get(path)
        if phase is None or query or not version.startswith("1") or not peer.startswith(LOOPBACK):
            return None
        has_body = header("transfer-encoding") is not None or header("content-length") not in (None, "", "0")
        if has_body or any(header(name) is not None for name in FROM_OUTSIDE):
            return None
        return phase
