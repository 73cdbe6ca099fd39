"""The middleware for WSGI apps (Flask, and whatever runs under gunicorn, waitress or uWSGI): two lines.

    from snapext.wsgi import SnapStartMiddleware

    app.wsgi_app = SnapStartMiddleware(app.wsgi_app)      # Flask; anywhere else application = SnapStartMiddleware(…)

docs/guarantees.md says what it guarantees where.
"""

from __future__ import annotations

from snapext.middleware import answers, flavour, guard, waiting

__all__ = ["SnapStartMiddleware"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    StartResponse = Callable[..., Any]
    App = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

HTTP = "HTTP/"


class SnapStartMiddleware:
    """Hold requests that come after a restore until the after-restore hooks of this process have run.

    app: the WSGI application. The first request runs the hooks in its own thread, or in the main thread where a server
    waits in it; what passes is handed to the app untouched. Raises TypeError for an ASGI app.
    """

    def __init__(self, app: App) -> None:
        flavour.check(app, flavour.WSGI)
        self.app = app
        self._guard = guard.current()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        guard = self._guard
        answer = None
        if guard.routes.paths and environ["REQUEST_METHOD"] == "POST":
            answer = self._answer_to_adapter(environ)
        if answer is None and not guard.may_pass():
            answer = waiting.wait(guard)
        if answer is None:
            return self.app(environ, start_response)
        status, content = answer
        start_response(f"{status} {answers.REASONS[status]}", answers.headers(content))
        return [content]

    def _answer_to_adapter(self, environ: dict[str, Any]) -> tuple[int, bytes] | None:
        def header(name: str) -> str | None:
            key = name.upper().replace("-", "_")
            value: str | None = environ.get(key if key == "CONTENT_LENGTH" else f"HTTP_{key}")
            return value

        phase = self._guard.routes.phase(
            environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
            environ.get("QUERY_STRING", ""),
            environ.get("SERVER_PROTOCOL", "").removeprefix(HTTP),
            environ.get("REMOTE_ADDR", ""),
            header,
        )
        return None if phase is None else waiting.adapter_says(self._guard, phase)
