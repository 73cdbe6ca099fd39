"""What a command says without the protocol's own messages."""

import json

import pytest

from snapext.wire import ask
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import CONTROL, PROTOCOL_VERSION, Checkpoint, Hello, StatusRequest, to_wire


@pytest.mark.parametrize("asked", [Checkpoint(), StatusRequest()])
def test_a_command_says_what_the_messages_would(asked):
    """Its lines are read as the messages that they stand for, and have no field that those do not have."""
    said = ask._hello(asked.type)
    lines = ask._line(said) + ask._line({"type": asked.type})
    hello, question = Connection(Side.EXTENSION).receive(lines)

    assert isinstance(hello, Hello)
    assert question == asked
    assert (hello.protocol, hello.role) == (PROTOCOL_VERSION, CONTROL)
    assert said.items() <= json.loads(Connection(Side.PROCESS).send(hello)).items()
    assert to_wire(asked) == {"type": asked.type}
