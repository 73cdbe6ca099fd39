"""The tables of states, pair by pair, against the platform's documented behaviour."""

import itertools

import pytest

from helpers import for_each
from snapext_tools.simulator.states import (
    EXTENSION_ASKS_FOR,
    EXTENSION_TRANSITIONS,
    FATAL_REPORTS,
    RUNTIME_ASKS_FOR,
    RUNTIME_TRANSITIONS,
    ExtensionCall,
    ExtensionState,
    InitType,
    RuntimeCall,
    RuntimeState,
    extension_after,
    runtime_after,
)

RUNTIME_ALLOWED = {
    "Started": {"restore/next": "RestoreReady", "invocation/next": "Ready", "init/error": "InitError"},
    "RestoreReady": {"restored": "Restoring"},
    "Restoring": {"invocation/next": "Ready", "restore/error": "RestoreError", "init/error": "RestoreError"},
    "Ready": {"invocation/next": "Ready", "invoked": "Running"},
    "Running": {
        "invocation/next": "Running",
        "invocation/response": "InvocationResponse",
        "invocation/error": "InvocationErrorResponse",
    },
    "InvocationResponse": {"response sent": "ResponseSent"},
    "InvocationErrorResponse": {"response sent": "ResponseSent"},
    "ResponseSent": {"invocation/next": "Ready"},
}
TABLES = [RUNTIME_TRANSITIONS, EXTENSION_TRANSITIONS, RUNTIME_ASKS_FOR, EXTENSION_ASKS_FOR, FATAL_REPORTS]
EXTENSION_ALLOWED = {
    "Started": {"register": "Registered"},
    "Registered": {
        "event/next": "Ready",
        "extension/init/error": "InitError",
        "extension/exit/error": "ExitError",
    },
    "Ready": {"event": "Running", "extension/exit/error": "ExitError"},
    "Running": {"event/next": "Ready", "extension/exit/error": "ExitError"},
    "InitError": {"extension/init/error": "InitError"},
    "ExitError": {"extension/exit/error": "ExitError"},
}


@for_each("state, call", list(itertools.product(RuntimeState, RuntimeCall)))
def test_each_pair_of_runtime_state_and_call_is_allowed_or_refused_as_on_the_platform(state, call):
    """A runtime may make the documented calls in the documented states and no other."""
    assert RUNTIME_ALLOWED.get(state, {}).get(call) == runtime_after(state, call)


@for_each("state, call", list(itertools.product(ExtensionState, ExtensionCall)))
def test_each_pair_of_extension_state_and_call_is_allowed_or_refused_as_on_the_platform(state, call):
    """An extension may make the documented calls in the documented states, and its process may end in any."""
    expected = "Exited" if call is ExtensionCall.EXITED else EXTENSION_ALLOWED.get(state, {}).get(call)

    assert expected == extension_after(state, call)


def test_whatever_ends_an_extension_is_stored_under_one_of_the_platforms_three_names():
    """The type in the extension's own header is not among them."""
    assert {str(call): str(stored) for call, stored in FATAL_REPORTS.items()} == {
        "extension/init/error": "Extension.InitError",
        "extension/exit/error": "Extension.ExitError",
        "exited": "Extension.Crash",
    }


@pytest.mark.parametrize("table", TABLES)
def test_no_table_can_be_changed(table):
    """The tables are read-only at run time."""
    with pytest.raises(TypeError):
        table["anything"] = "else"


def test_each_call_that_can_be_refused_names_the_state_that_it_asks_for():
    """Every call of the two APIs has a state to name in its refusal; acts of the platform have none."""
    assert set(RuntimeCall) - {"restored", "invoked", "response sent"} == set(RUNTIME_ASKS_FOR)
    assert set(ExtensionCall) - {"event", "exited"} == set(EXTENSION_ASKS_FOR)


def test_the_initialization_types_are_the_words_of_the_environment_variable():
    """The enumeration's values can be put in AWS_LAMBDA_INITIALIZATION_TYPE as they are."""
    assert [str(kind) for kind in InitType] == ["snap-start", "on-demand"]
