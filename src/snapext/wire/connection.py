"""One connection as a state machine: bytes in, messages out. No socket, no clock.

A connection begins with one greeting from each side (`hello` from the process, `welcome` from the extension) and is
open from then on. What breaks that, or is malformed, raises RemoteProtocolError, and the connection is dead for good:
its owner closes it. Partial lines are kept until the rest arrives, but never more than one line's worth.
"""

from __future__ import annotations

from snapext.errors import LocalProtocolError, RemoteProtocolError
from snapext.wire.json_text import decode, encode
from snapext.wire.messages import FROM, FROM_EXTENSION, FROM_PROCESS, MAX_LINE_BYTES, Hello, Message, Welcome, to_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class Side:
    """Which end of the connection is ours. No enum: its module takes as long to import as all messages."""

    PROCESS = "process"
    EXTENSION = "extension"


class State:
    """What their side may send."""

    GREETING = "greeting"
    OPEN = "open"
    DEAD = "dead"


class Connection:
    """The protocol's view of one connection, seen from `our_side`."""

    def __init__(self, our_side: str) -> None:
        self._our_greeting: type[Message]
        self._their_greeting: type[Message]
        if our_side == Side.PROCESS:
            self._ours, self._our_greeting = FROM_PROCESS, Hello
            self._theirs, self._their_greeting = FROM_EXTENSION, Welcome
        else:
            self._ours, self._our_greeting = FROM_EXTENSION, Welcome
            self._theirs, self._their_greeting = FROM_PROCESS, Hello
        self._of_their_role = self._theirs  # what their role may send; all of it until the role is known
        self._greeted = False
        self._buffer = b""
        self.their_state = State.GREETING

    @property
    def is_between_lines(self) -> bool:
        """Whether both greetings are over, and their side has sent whole lines."""
        return not self._buffer and self._greeted and self.their_state == State.OPEN

    def send(self, message: Message) -> bytes:
        """The bytes of one message.

        Raises LocalProtocolError if it is not ours to send, out of order or too long.
        """
        if message.type not in self._ours:
            raise LocalProtocolError(f"{message.type} is not ours to send")
        if isinstance(message, self._our_greeting) == self._greeted:
            raise LocalProtocolError(f"{message.type} is out of order: one greeting comes first")
        line = encode(to_wire(message)).encode() + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise LocalProtocolError(f"{message.type} takes {len(line)} bytes; {MAX_LINE_BYTES} are allowed")
        self._greeted = True
        return line

    def receive(self, data: bytes) -> Iterator[Message]:
        """Take what has arrived and yield each message that is complete.

        Raises RemoteProtocolError at the first that is malformed; the messages before it have been yielded.
        """
        if self.their_state == State.DEAD:
            raise RemoteProtocolError("the connection is dead after an earlier error")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            for line in lines:
                message = self._parse(line)
                if message is not None:
                    yield message
            if len(self._buffer) >= MAX_LINE_BYTES:
                raise RemoteProtocolError(f"a line is longer than {MAX_LINE_BYTES} bytes")
        except RemoteProtocolError:
            self.their_state = State.DEAD
            self._buffer = b""
            raise

    def _parse(self, line: bytes) -> Message | None:
        if len(line) >= MAX_LINE_BYTES:
            raise RemoteProtocolError(f"a line is longer than {MAX_LINE_BYTES} bytes")
        data = _json_object(line)
        kind = data.get("type")
        if not isinstance(kind, str):
            raise RemoteProtocolError("a message has no 'type'")
        if kind not in self._of_their_role:
            if kind in self._ours or kind in self._theirs:
                raise RemoteProtocolError(f"{kind} is not theirs to send")
            return None
        message = self._theirs[kind].read(data)
        if isinstance(message, self._their_greeting) != (self.their_state == State.GREETING):
            raise RemoteProtocolError(f"{kind} is out of order: one greeting comes first")
        self.their_state = State.OPEN
        if isinstance(message, Hello):
            self._of_their_role = FROM[message.role]
        return message


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        data = decode(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"a line is not JSON: {type(error).__name__}: {error}") from None
    if not isinstance(data, dict):
        raise RemoteProtocolError("a line is not a JSON object")
    return data
