"""Answers `snapext status`: what the lifecycle knows, and the names of the hooks, which only the processes know."""

from __future__ import annotations

from snapext.errors import LocalProtocolError
from snapext.wire import VERSION
from snapext.wire.messages import Describe, Described, Message, Result
from snapext.wire.phases import PHASES
from snapext_extension.reactor import Reactor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NAMES_TIMEOUT_MS = 300
"""A process that runs a hook, or speaks no `describe`, is shown with its counts alone."""
_LISTS = ("processes", "not_linked")


class _Request:
    def __init__(self, asker: int, missing: set[int]) -> None:
        self.asker = asker
        self.missing = missing
        self.names: dict[int, dict[str, list[str]]] = {}


class StatusDesk:
    """describe: what the lifecycle says of itself, with its processes by key. send: tells one peer something."""

    def __init__(
        self, describe: Callable[[], dict[str, Any]], send: Callable[[int, Message], None], reactor: Reactor
    ) -> None:
        self._describe = describe
        self._send = send
        self._reactor = reactor
        self._requests: dict[int, _Request] = {}
        self._last_id = 0
        self._silent: set[int] = set()

    def ask(self, asker: int) -> None:
        """A command asks. The answer is sent when the processes have given the names of their hooks, or in time."""
        if any(request.asker == asker for request in self._requests.values()):
            return  # one question at a time: the answer to the first is on its way
        processes = self._describe()["processes"]
        on_socket = [key for key, process in processes.items() if process["how"] == "socket" and process["connected"]]
        self._last_id += 1
        number, request = self._last_id, _Request(asker, set(on_socket))
        self._requests[number] = request
        self._reactor.set_timer(request, NAMES_TIMEOUT_MS, lambda: self._answer(number))
        for key in on_socket:
            if key not in self._silent:  # a process that runs a hook does not read: do not fill it up
                self._silent.add(key)
                self._send(key, Describe(number))
        self._answer_if_complete(number)

    def described(self, key: int, message: Described) -> None:
        """A process has named its hooks."""
        self._silent.discard(key)
        request = self._requests.get(message.id)
        if request is not None and key in request.missing:
            names = {phase: list(getattr(message, phase)) for phase in PHASES}
            request.names[key] = names
            request.missing.discard(key)
            self._answer_if_complete(message.id)

    def left(self, key: int) -> None:
        """A peer hung up: it is not waited for any more, or does not wait any more."""
        self._silent.discard(key)
        for number, request in list(self._requests.items()):
            if request.asker == key:
                self._close(number)
            request.missing.discard(key)
            self._answer_if_complete(number)

    def _answer_if_complete(self, number: int) -> None:
        if number in self._requests and not self._requests[number].missing:
            self._answer(number)

    def _answer(self, number: int) -> None:
        request = self._close(number)
        status = {**self._describe(), "version": VERSION}
        status["processes"] = [
            {**process, "hook_names": request.names.get(key)} for key, process in status["processes"].items()
        ]
        self._send_what_fits(request.asker, status)

    def _send_what_fits(self, asker: int, status: dict[str, Any]) -> None:
        """One line holds some hundred processes with names, and more without."""
        whole = {name: len(status.get(name, ())) for name in _LISTS}
        while True:
            try:
                self._send(asker, Result(True, status=status))
                return
            except LocalProtocolError:
                longest = max(_LISTS, key=lambda name: len(status.get(name, ())))
                if any(process["hook_names"] for process in status["processes"]):
                    status["processes"] = [{**process, "hook_names": None} for process in status["processes"]]
                elif status.get(longest):
                    status[longest] = status[longest][: len(status[longest]) // 2]
                    status[f"{longest}_left_out"] = whole[longest] - len(status[longest])
                elif status.get("waiting"):
                    status["waiting"] = status["waiting"][: len(status["waiting"]) // 2]
                else:
                    raise  # what is left has a fixed size

    def _close(self, number: int) -> _Request:
        request = self._requests.pop(number)
        self._reactor.cancel_timer(request)
        return request
