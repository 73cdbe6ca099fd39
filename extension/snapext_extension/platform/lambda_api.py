"""The Extensions API and the Runtime API of Lambda, as calls. No policy.

Imported before the extension has registered, so it imports next to nothing: no json, no http.client, and of sockets
what is beneath the module `socket`, which imports enum, selectors and collections: a quarter of the time to register.
"""

from _socket import AF_INET, SOCK_STREAM, socket

from snapext_extension.platform.http1 import HttpError, Response, parse_response, request_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snapext_extension.reserve import Reserve

EXTENSIONS = "/2020-01-01/extension"
RUNTIME = "/2018-06-01/runtime"

EVENT_NEXT = f"{EXTENSIONS}/event/next"
EXTENSION_INIT_ERROR = f"{EXTENSIONS}/init/error"
EXTENSION_EXIT_ERROR = f"{EXTENSIONS}/exit/error"
RESTORE_NEXT = f"{RUNTIME}/restore/next"
RESTORE_ERROR = f"{RUNTIME}/restore/error"
INIT_ERROR = f"{RUNTIME}/init/error"

REPORT_TIMEOUT_S = 2.0
"""How long an error report may take; the platform is on this machine and answers at once."""


class LambdaApi:
    """The two APIs at one address (`AWS_LAMBDA_RUNTIME_API`, host:port)."""

    def __init__(self, address: str) -> None:
        self._address = address
        host, _, port = address.rpartition(":")
        self._endpoint = (host, int(port))
        self.extension_id = ""
        self.reserve: Reserve | None = None  # of descriptors; set once we have registered

    def register(self, name: str, *, invoke: bool = False) -> Response:
        """Register as the external extension `name`, for SHUTDOWN; INVOKE as well adds to every invocation.

        `name` must be that of the file that was started, or the platform waits for ever.
        """
        headers = {"Lambda-Extension-Name": name, "Content-Type": "application/json"}
        body = b'{"events":["INVOKE","SHUTDOWN"]}' if invoke else b'{"events":["SHUTDOWN"]}'
        response = self._call("POST", f"{EXTENSIONS}/register", headers, body, None)
        self.extension_id = response.headers.get("lambda-extension-identifier", "")
        return response

    def ask(self, path: str) -> socket:
        """Send a GET that the platform answers when it has something to say; returns the socket to wait on."""
        connection = self._connect(None)
        try:
            connection.sendall(request_bytes("GET", self._address, path, self._identity(path)))
        except OSError:
            connection.close()
            raise
        return connection

    def report(self, path: str, error_type: str, body: bytes) -> Response:
        """Report an error of ours (extension paths) or of the runtime (runtime paths).

        Raises OSError or HttpError when the platform does not answer in time.
        """
        kind = "Extension" if path.startswith(EXTENSIONS) else "Runtime"
        headers = {
            **self._identity(path),
            f"Lambda-{kind}-Function-Error-Type": error_type,
            "Content-Type": "application/json",
        }
        return self._call("POST", path, headers, body, REPORT_TIMEOUT_S)

    def _identity(self, path: str) -> dict[str, str]:
        return {"Lambda-Extension-Identifier": self.extension_id} if path.startswith(EXTENSIONS) else {}

    def _connect(self, timeout_s: float | None) -> socket:
        try:
            connection = socket(AF_INET, SOCK_STREAM)
        except OSError:  # no descriptor is left: the reserve is there for this call
            if self.reserve is None or not self.reserve.release():
                raise
            connection = socket(AF_INET, SOCK_STREAM)
        try:
            connection.settimeout(timeout_s)
            connection.connect(self._endpoint)
        except OSError:
            connection.close()
            raise
        return connection

    def _call(self, method: str, path: str, headers: dict[str, str], body: bytes, timeout_s: float | None) -> Response:
        connection = self._connect(timeout_s)
        try:
            connection.sendall(request_bytes(method, self._address, path, headers, body))
            received = b""
            while True:
                data = connection.recv(65536)
                received += data
                response = parse_response(received, ended=not data)
                if response is not None:
                    return response
        finally:
            connection.close()


__all__ = ["HttpError", "LambdaApi", "Response"]
