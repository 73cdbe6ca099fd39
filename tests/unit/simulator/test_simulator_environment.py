"""The simulated execution environment, driven without HTTP, threads or a clock."""

import itertools
import json
import uuid

import pytest

from helpers import for_each
from snapext_tools.simulator.environment import Environment
from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.outcomes import Failure
from snapext_tools.simulator.replies import DROPPED, Blocked, Reply
from snapext_tools.simulator.states import ExtensionState, InitType, RuntimeState

UNIX_ORIGIN_MS = 1_700_000_000_000
UNKNOWN_ID = "00000000-0000-0000-0000-00000000ffff"


class Driver:
    """An environment with a clock that the test moves, and short words for the calls of its processes."""

    def __init__(self, init_type=InitType.SNAP_START, extensions=("snapext",), **settings):
        ids = (str(uuid.UUID(int=n)) for n in itertools.count(1))
        self.environment = Environment(
            init_type=init_type,
            extension_names=extensions,
            new_id=lambda: next(ids),
            unix_origin_ms=UNIX_ORIGIN_MS,
            **settings,
        )
        self.now_ms = 0.0
        self.identifiers = {}

    def __getattr__(self, name):
        member = getattr(self.environment, name)
        if not callable(member) or name.startswith("missing") or name in ("reply_to", "result"):
            return member
        return lambda *args, **kwargs: member(self.now_ms, *args, **kwargs)

    def registered(self, name="snapext", events=("SHUTDOWN",)):
        reply = self.register({"lambda-extension-name": name}, json.dumps({"events": events}).encode())
        if reply.status == 200:
            self.identifiers[name] = reply.headers["Lambda-Extension-Identifier"]
        return reply

    def identity(self, name="snapext", **more):
        return {"lambda-extension-identifier": self.identifiers[name], **more}

    def next(self, name="snapext"):
        return self.event_next(self.identity(name))

    def names(self):
        return [record.name for record in self.environment.records]

    def until_init_end(self, events=("SHUTDOWN",)):
        if "snapext" not in self.identifiers:
            self.registered(events=events)
        self.runtime_started()
        self.event = self.next()
        self.asked = self.invocation_next() if self.init_type is InitType.ON_DEMAND else self.restore_next()
        return self

    def until_ready(self, events=("SHUTDOWN",)):
        self.until_init_end(events)
        if self.init_type is InitType.SNAP_START:
            self.restore()
            self.asked = self.invocation_next()
        return self


def said(reply):
    return json.loads(reply.body)


def refused(reply, status, error_type):
    assert (status, error_type) == (reply.status, said(reply)["errorType"])
    assert sorted(said(reply)) == ["errorMessage", "errorType"]
    assert reply.headers["Content-Type"] == "application/json"
    return said(reply)["errorMessage"]


def accepted(reply):
    return (reply.status, said(reply)) == (202, {"status": "OK"})


# --- registration ----------------------------------------------------------------------------------------------------


def test_a_registered_extension_gets_its_identifier_and_the_functions_metadata():
    """Register answers 200 with an identifier and the function's name, version and handler."""
    driver = Driver(function_name="shop")
    reply = driver.registered()

    assert reply.status == 200
    assert uuid.UUID(reply.headers["Lambda-Extension-Identifier"])
    assert said(reply) == {"functionName": "shop", "functionVersion": "1", "handler": "handler"}
    assert driver.records[0].detail == {"name": "snapext", "events": ["SHUTDOWN"], "internal": False}


def test_on_demand_runs_the_latest_version():
    """Only published versions use SnapStart, so an on-demand environment is that of $LATEST."""
    assert said(Driver(InitType.ON_DEMAND).registered())["functionVersion"] == "$LATEST"


def test_the_runtime_may_not_start_before_every_external_extension_has_registered():
    """The driver is stopped from starting the runtime early, and a call from the runtime is dropped."""
    driver = Driver(extensions=("snapext", "lambda-adapter"))
    driver.registered()

    with pytest.raises(SimulationError, match="extension lambda-adapter has not registered"):
        driver.runtime_started()
    for call in ("restore_next", "invocation_next", "init_error", "restore_error"):
        assert getattr(driver, call)() is DROPPED
        assert driver.records[-1].name == "dropped"
        assert "lambda-adapter has not registered" in driver.records[-1].detail["message"]
    assert driver.runtime is RuntimeState.STARTED
    driver.registered("lambda-adapter")
    driver.runtime_started()
    assert isinstance(driver.restore_next(), Blocked)


def test_a_name_that_is_no_file_registers_as_internal_and_the_external_one_is_still_waited_for():
    """A misspelt name is accepted as an internal extension, and the wait names both."""
    driver = Driver()
    assert driver.registered("snapExt", ["INVOKE"]).status == 200

    assert driver.records[-1].detail["internal"] is True
    (words,) = driver.missing_for_registration()
    assert "extension snapext has not registered" in words
    assert "snapExt registered, but no file" in words


@pytest.mark.parametrize("headers", [{}, {"lambda-extension-name": ""}])
def test_registering_without_a_name_is_refused(headers):
    """A missing or empty Lambda-Extension-Name is an invalid name."""
    refused(Driver().register(headers, b"{}"), 403, "Extension.InvalidExtensionName")


@for_each("body", [b"", b"{", b"[]", b'{"events": "INVOKE"}', b'{"events": [1]}', b"\xff"])
def test_registering_with_a_bad_body_is_refused(body):
    """A body that is not a JSON object with a list of words is a bad format."""
    refused(Driver().register({"lambda-extension-name": "snapext"}, body), 403, "InvalidRequestFormat")


@pytest.mark.parametrize("body", [b"{}", b'{"events": null}', b'{"events": []}'])
def test_an_extension_may_register_for_no_events(body):
    """No events are allowed in each of the ways to say so."""
    assert Driver().register({"lambda-extension-name": "snapext"}, body).status == 200


@pytest.mark.parametrize(("name", "event"), [("snapext", "RESTORE"), ("snapext", "invoke"), ("inner", "SHUTDOWN")])
def test_asking_for_an_event_that_one_cannot_have_is_refused(name, event):
    """There is no restore event, and an internal extension may not ask for SHUTDOWN."""
    refused(Driver().registered(name, [event]), 403, "Extension.InvalidEventType")


@pytest.mark.parametrize("name", ["snapext", "inner"])
def test_registering_twice_is_refused(name):
    """A second registration under one name is an invalid state, external or internal."""
    driver = Driver()
    driver.registered(name, ["INVOKE"])

    refused(driver.registered(name, ["INVOKE"]), 403, "Extension.InvalidExtensionState")


def test_registration_ends_once_the_runtime_has_initialised():
    """An internal extension that registers after the runtime's first next is refused."""
    refused(Driver().until_init_end().registered("late", []), 403, "Extension.RegistrationClosed")


def test_at_most_ten_extensions_register():
    """The eleventh extension is refused."""
    driver = Driver()
    assert [driver.registered(f"inner-{n}", []).status for n in range(9)] == [200] * 9

    refused(driver.registered("inner-9", []), 403, "Extension.TooManyExtensions")


EXTENSION_CALLS = ("event_next", "extension_init_error", "extension_exit_error")


@for_each("call", EXTENSION_CALLS)
@for_each(
    "headers, error_type",
    [
        ({}, "Extension.MissingExtensionIdentifier"),
        ({"lambda-extension-identifier": "me"}, "Extension.InvalidExtensionIdentifier"),
        ({"lambda-extension-identifier": UNKNOWN_ID}, "Extension.UnknownExtensionIdentifier"),
    ],
)
def test_an_extension_call_without_a_valid_identifier_is_refused(call, headers, error_type):
    """A missing, a malformed and an unknown identifier get different errors."""
    driver = Driver()
    driver.registered()

    refused(getattr(driver, call)(headers), 403, error_type)


@pytest.mark.parametrize("call", ["extension_init_error", "extension_exit_error"])
def test_an_error_report_of_an_extension_must_name_its_type(call):
    """A report without Lambda-Extension-Function-Error-Type is refused and is not a failure."""
    driver = Driver()
    driver.registered()

    refused(getattr(driver, call)(driver.identity()), 403, "Extension.MissingHeader")
    assert driver.failure is None


# --- every state and every call --------------------------------------------------------------------------------------


def runtime_in(state):
    """A driver whose runtime is in `state`, with a running invocation where the state allows one."""
    driver = Driver()
    driver.registered()
    driver.request_id = UNKNOWN_ID
    if state is RuntimeState.INIT_ERROR:
        driver.init_error()
    elif state is not RuntimeState.STARTED:
        driver.until_init_end()
    if state not in (RuntimeState.STARTED, RuntimeState.INIT_ERROR, RuntimeState.RESTORE_READY):
        driver.restore()
        if state is RuntimeState.RESTORE_ERROR:
            driver.restore_error()
        elif state is not RuntimeState.RESTORING:
            driver.invocation_next()
    after_ready = ("Running", "InvocationResponse", "InvocationErrorResponse", "ResponseSent")
    if state in after_ready:
        driver.request_id = driver.invoke(b"{}", 1000)
        if state is not RuntimeState.RUNNING:
            driver.begin_response(driver.request_id, {})
        if state is RuntimeState.RESPONSE_SENT:
            driver.end_response(b"")
    if state is RuntimeState.INVOCATION_ERROR_RESPONSE:  # passed through within one call: only set from outside
        driver.environment.runtime = state
    assert state == driver.runtime
    return driver


RUNTIME_ACCEPTS = {
    "Started": {"restore_next", "invocation_next", "init_error"},
    "Restoring": {"invocation_next", "restore_error", "init_error"},
    "Ready": {"invocation_next"},
    "Running": {"invocation_next", "response", "error"},
    "ResponseSent": {"invocation_next"},
}
RUNTIME_CALLS = {
    "restore_next": ("RestoreReady", lambda d: d.restore_next()),
    "invocation_next": ("Ready", lambda d: d.invocation_next()),
    "init_error": ("InitError", lambda d: d.init_error()),
    "restore_error": ("RestoreError", lambda d: d.restore_error()),
    "response": ("InvocationResponse", lambda d: d.begin_response(d.request_id, {})),
    "error": ("InvocationErrorResponse", lambda d: d.invocation_error(d.request_id, {}, b"")),
}


@for_each("call", RUNTIME_CALLS)
@for_each("state", RuntimeState)
def test_a_runtime_call_is_accepted_in_its_states_and_refused_with_both_states_named_in_all_others(state, call):
    """Everything outside the table is a 403 that names the current and the requested state."""
    driver = runtime_in(state)
    asked, make = RUNTIME_CALLS[call]
    answer = make(driver)

    if call in RUNTIME_ACCEPTS.get(state, ()):
        assert not isinstance(answer, Reply) or answer.status < 300
    elif call in ("response", "error") and driver.request_id == UNKNOWN_ID:
        refused(answer, 400, "InvalidRequestID")
    else:
        message = refused(answer, 403, "InvalidStateTransition")
        assert f"state {state}," in message
        assert f"to {asked}" in message
        assert state == driver.runtime
        assert driver.records[-1].name == "refused"


def extension_in(state):
    """A driver whose extension is in `state`; its identifier is known even before it registers."""
    driver = Driver()
    driver.identifiers["snapext"] = str(uuid.UUID(int=1))
    error = driver.identity(**{"lambda-extension-function-error-type": "Extension.Test"})
    if state is not ExtensionState.STARTED:
        driver.registered()
    if state in (ExtensionState.READY, ExtensionState.RUNNING):
        driver.next()
    if state is ExtensionState.RUNNING:
        driver.shutdown("spindown", 2000)
    elif state is ExtensionState.INIT_ERROR:
        driver.extension_init_error(error)
    elif state is ExtensionState.EXIT_ERROR:
        driver.extension_exit_error(error)
    elif state is ExtensionState.EXITED:
        driver.process_exited("extension", "snapext", 0)
    return driver, error


EXTENSION_ACCEPTS = {
    "Started": {"register"},
    "Registered": {"event_next", "extension_init_error", "extension_exit_error"},
    "Ready": {"extension_exit_error"},
    "Running": {"event_next", "extension_exit_error"},
    "InitError": {"extension_init_error"},
    "ExitError": {"extension_exit_error"},
}


@for_each("call", ["register", *EXTENSION_CALLS])
@for_each("state", ExtensionState)
def test_an_extension_call_is_accepted_in_its_states_and_refused_in_all_others(state, call):
    """Everything outside the table is a 403 that names the extension's state."""
    driver, error = extension_in(state)
    answer = driver.registered() if call == "register" else getattr(driver, call)(error)

    if call in EXTENSION_ACCEPTS.get(state, ()):
        assert not isinstance(answer, Reply) or answer.status < 300
    else:
        assert f"state {state}," in refused(answer, 403, "Extension.InvalidExtensionState")


# --- init and restore ------------------------------------------------------------------------------------------------


@for_each("order", list(itertools.permutations(["extension", "internal", "runtime"])))
@for_each("call", ["restore_next", "invocation_next"])
def test_init_ends_when_the_runtime_and_every_registered_extension_have_asked_for_their_next_step(order, call):
    """In any order the last call ends init; an extension that has not asked holds the snapshot back."""
    driver = Driver()
    driver.registered(events=[])
    driver.registered("inner", ["INVOKE"])
    steps = {
        "extension": driver.next,
        "internal": lambda: driver.next("inner"),
        "runtime": getattr(driver, call),
    }
    words = {
        "extension": "extension snapext has not asked for event/next",
        "internal": "extension inner has not asked for event/next",
        "runtime": "the runtime has not asked for restore/next or invocation/next",
    }
    for done, name in enumerate(order):
        assert {words[missing] for missing in order[done:]} == set(driver.missing_for_init())
        assert "init_end" not in driver.names()
        with pytest.raises(SimulationError, match="init has not finished"):
            driver.restore()
        assert isinstance(steps[name](), Blocked)

    assert driver.missing_for_init() == []
    assert driver.records[-1].name == "init_end"
    assert driver.wants_restore is (call == "restore_next")


def test_restore_next_is_released_by_the_restore_with_an_empty_answer():
    """The call blocks until the environment has been restored, then answers 200 with nothing in it."""
    driver = Driver().until_init_end()
    assert driver.reply_to(driver.asked) is None
    driver.restore()

    assert driver.reply_to(driver.asked) == Reply(200, b"")
    assert driver.runtime is RuntimeState.RESTORING
    assert driver.missing_for_ready() == ["the runtime has not asked for invocation/next since the restore"]


def test_the_restore_is_over_when_the_runtime_asks_for_its_first_invocation():
    """The time from the restore to invocation/next is recorded."""
    driver = Driver().until_init_end()
    driver.now_ms = 100.0
    driver.restore()
    driver.now_ms = 112.5

    assert isinstance(driver.invocation_next(), Blocked)
    assert driver.records[-1].name == "ready"
    assert driver.records[-1].detail == {"after_restore_ms": 12.5}
    assert driver.missing_for_ready() == []


def test_a_runtime_that_never_asks_for_restore_next_is_ready_at_once_and_has_no_deadline():
    """Such a runtime takes no part in the restore: its next call just returns the first invocation."""
    driver = Driver()
    driver.registered()
    driver.next()
    asked = driver.invocation_next()
    assert driver.missing_for_ready() == ["nothing has been restored from the snapshot"]
    driver.restore()

    assert driver.missing_for_ready() == []
    assert driver.deadline_ms is None
    assert driver.reply_to(asked) is None
    request_id = driver.invoke(b"first", 1000)
    reply = driver.reply_to(asked)
    assert (b"first", request_id) == (reply.body, reply.headers["Lambda-Runtime-Aws-Request-Id"])


@pytest.mark.parametrize(("at_ms", "in_time"), [(9_999.9, True), (10_000, False), (60_000, False)])
def test_a_runtime_has_ten_seconds_from_the_restore_to_ask_for_an_invocation(at_ms, in_time):
    """A runtime that asks later has timed out, however late the clock is read."""
    driver = Driver().until_init_end()
    driver.restore()
    driver.now_ms = at_ms
    driver.invocation_next()

    assert in_time is (driver.failure is None)
    assert in_time is (driver.ready_ms is not None)
    if not in_time:
        assert (driver.failure.phase, driver.failure.error_type) == ("restore", "Runtime.RestoreHookUserTimeout")
        assert "10000 ms" in driver.failure.message
        assert driver.names().count("restore_timeout") == 1


def test_the_restore_deadline_can_be_set_and_ends_with_a_report():
    """The configured deadline applies, and none is left once the runtime has reported a failure."""
    driver = Driver(restore_timeout_ms=50).until_init_end()
    driver.restore()
    assert driver.deadline_ms == 50
    driver.restore_error({"lambda-runtime-function-error-type": "Runtime.AfterRestoreError"})
    driver.now_ms = 1000
    driver.tick()

    assert driver.failure.error_type == "Runtime.AfterRestoreError"


@pytest.mark.parametrize("call", ["restore_next", "restore_error"])
def test_restore_calls_do_not_exist_on_demand(call):
    """Without SnapStart they answer 404 and the runtime stays where it is."""
    driver = Driver(InitType.ON_DEMAND)
    driver.registered()

    assert getattr(driver, call)().status == 404
    assert driver.runtime is RuntimeState.STARTED
    assert driver.records[-1].detail["status"] == 404


def test_on_demand_is_ready_when_init_ends_and_cannot_be_restored():
    """There is no snapshot in an on-demand environment."""
    driver = Driver(InitType.ON_DEMAND).until_ready()

    assert driver.missing_for_ready() == []
    with pytest.raises(SimulationError, match="on-demand"):
        driver.restore()


def test_an_environment_is_restored_once():
    """A second restore is a mistake of the driver."""
    driver = Driver().until_ready()

    with pytest.raises(SimulationError, match="restored already"):
        driver.restore()


# --- failures --------------------------------------------------------------------------------------------------------


def report_of(error_type, message="no pool"):
    body = {"errorMessage": message, "errorType": "OSError", "stackTrace": []}
    return {"lambda-runtime-function-error-type": error_type}, json.dumps(body).encode()


def test_init_error_ends_nothing_until_a_process_exits_and_is_then_what_the_invocation_gets():
    """The platform keeps the report and waits on; the exit that ends init is stored beside it."""
    driver = Driver()
    driver.registered()
    headers, body = report_of("Runtime.BeforeSnapshotError", "hook close_pool failed")

    assert accepted(driver.init_error(headers, body))
    assert driver.failure is None
    assert driver.records[-1].detail == {"error_type": "Runtime.BeforeSnapshotError", "body": json.loads(body)}
    assert driver.missing_for_init()[0] == (
        "the runtime reported Runtime.BeforeSnapshotError to init/error, and no process has exited yet"
    )
    driver.process_exited("runtime", "bootstrap", 64)
    assert driver.failure == Failure(
        "init", "Runtime.BeforeSnapshotError", "hook close_pool failed", json.loads(body), "Runtime.ExitError"
    )


@pytest.mark.parametrize("call", ["init_error", "restore_error"])
def test_an_error_of_the_restore_ends_it_at_once_and_its_body_is_dropped(call):
    """init/error during the restore counts as restore/error."""
    driver = Driver().until_init_end()
    driver.restore()

    assert accepted(getattr(driver, call)(*report_of("Runtime.AfterRestoreError")))
    message = f"the runtime reported Runtime.AfterRestoreError to {call.replace('_', '/')}"
    assert driver.failure == Failure("restore", "Runtime.AfterRestoreError", message, {})
    assert driver.records[-1].name == "restore_error"
    assert driver.records[-1].detail == {"error_type": "Runtime.AfterRestoreError"}


@for_each(
    "given, recorded",
    [
        ("Runtime.AfterRestoreError", "Runtime.AfterRestoreError"),
        ("Function.MyError", "Function.MyError"),
        ("Runtime.lower", "Runtime.Unknown"),
        ("Runtime.X", "Runtime.Unknown"),
        ("Extension.Crash", "Runtime.Unknown"),
        ("Runtime.Bad Type", "Runtime.Bad Type"),
        ("Function.x", "Function.Unknown"),
        ("Runtime.Error2", "Runtime.Error2"),
        ("My Runtime.Error, in short", "My Runtime.Error, in short"),
        ("", "Runtime.Unknown"),
    ],
)
def test_an_error_type_without_the_pattern_in_it_is_recorded_as_unknown(given, recorded):
    """Somewhere in the header there must be Runtime or Function, a dot, and a capital before a letter: no anchors."""
    driver = Driver()
    driver.registered()
    driver.init_error({"lambda-runtime-function-error-type": given} if given else {})

    assert recorded == driver.records[-1].detail["error_type"]


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[1]", b'{"errorMessage": 7}', b"\xff"])
def test_a_report_without_a_usable_message_still_makes_one_clear_line(body):
    """The message then names the reporter, the error and the call."""
    driver = Driver()
    driver.registered()
    driver.init_error({"lambda-runtime-function-error-type": "Runtime.Oops"}, body)
    driver.process_exited("runtime", "bootstrap", 1)

    assert driver.failure.message == "the runtime reported Runtime.Oops to init/error"


@pytest.mark.parametrize(("kind", "stored"), [("init", "Extension.InitError"), ("exit", "Extension.ExitError")])
def test_an_extensions_own_report_ends_as_the_platforms_type_and_once_a_process_exits(kind, stored):
    """Whatever type its header names. A repeated report changes nothing, and its exit is then not a crash."""
    driver = Driver()
    driver.registered()
    report = getattr(driver, f"extension_{kind}_error")
    error = driver.identity(**{"lambda-extension-function-error-type": "Extension.NoSocket"})

    assert accepted(report(error, b'{"errorMessage": "no socket"}'))
    assert accepted(report(driver.identity(**{"lambda-extension-function-error-type": "Extension.Second"})))
    assert driver.failure is None
    assert "extension snapext reported an error, and no process has exited yet" in driver.missing_for_init()
    driver.process_exited("extension", "snapext", 1)
    message = f"extension snapext reported Extension.NoSocket to extension/{kind}/error: no socket"
    assert driver.failure == Failure("init", stored, message, {"errorMessage": "no socket"})
    assert driver.names().count(f"extension_{kind}_error") == 1
    assert driver.names()[-1] == "extension_exit"


@for_each("returncode", [0, 1, -9])
@for_each("until, phase", [("start", "init"), ("register", "init"), ("next", "init"), ("ready", "invoke")])
def test_an_extension_that_exits_without_a_report_has_crashed(until, phase, returncode):
    """Whatever its status and however far it came, an exit before the shutdown is a crash."""
    driver = Driver()
    if until != "start":
        driver.registered()
    if until == "next":
        driver.next()
    if until == "ready":
        driver.until_ready()
    driver.process_exited("extension", "snapext", returncode)

    assert (driver.failure.phase, driver.failure.error_type) == (phase, "Extension.Crash")
    assert f"snapext exited with status {returncode}" in driver.failure.message
    assert driver.names()[-1] == "extension_crash"


@pytest.mark.parametrize(("until", "phase"), [("init", "init"), ("restore", "restore"), ("ready", "invoke")])
def test_a_runtime_that_exits_fails_the_phase_that_it_is_in(until, phase):
    """An exit of the runtime is Runtime.ExitError in init, in the restore and afterwards."""
    driver = Driver()
    driver.until_ready() if until == "ready" else driver.until_init_end()
    if until == "restore":
        driver.restore()
    driver.process_exited("runtime", "bootstrap", 64)

    assert (phase, "Runtime.ExitError") == (driver.failure.phase, driver.failure.error_type)
    assert "status 64" in driver.failure.message


EXIT_ERROR = {"lambda-extension-function-error-type": "Extension.Test"}
FATAL_STEPS = {
    "report": lambda d: d.extension_exit_error(d.identity(**EXIT_ERROR)),
    "extension exits": lambda d: d.process_exited("extension", "snapext", 1),
    "runtime exits": lambda d: d.process_exited("runtime", "bootstrap", 1),
    "init/error": lambda d: d.init_error(*report_of("Runtime.Reported")),
    "restore/error": lambda d: d.restore_error(*report_of("Runtime.Reported")),
    "invocation/next": lambda d: d.invocation_next(),
    "deadline": lambda d: (setattr(d, "now_ms", d.now_ms + 20_000), d.tick()),
}
STORES = {
    "report": "Extension.ExitError",
    "extension exits": "Extension.Crash",
    "runtime exits": "Runtime.ExitError",
}


def outcome_in_init(order):
    """As in AWS's code: an exit ends init; users see the report to init/error, else the first fatal error."""
    for number, step in enumerate(order):
        if step.endswith("exits"):
            stored = next(STORES[earlier] for earlier in order if earlier in STORES)
            return "Runtime.Reported" if "init/error" in order[:number] else stored
    return None


def outcome_of_restore(order):
    """As in AWS's code: whatever ends the restore, it fails with a fatal error that is stored by then."""
    for number, step in enumerate(order):
        if step != "report":
            stored = next((STORES[earlier] for earlier in order[: number + 1] if earlier in STORES), None)
            own = {"restore/error": "Runtime.Reported", "deadline": "Runtime.RestoreHookUserTimeout"}.get(step)
            return stored or own
    return None


@for_each("asked", [False, True])
@for_each("order", list(itertools.permutations(["report", "extension exits", "runtime exits", "init/error"])))
def test_init_fails_at_the_first_exit_with_what_was_reported_or_stored_first(order, asked):
    """In every order of the things that can go wrong in init, whether or not the extension has asked for an event."""
    for length in range(1, len(order) + 1):
        driver = Driver()
        driver.registered()
        if asked:
            driver.next()
        for step in order[:length]:
            FATAL_STEPS[step](driver)

        expected = outcome_in_init(order[:length])
        assert (expected and ("init", expected)) == (
            driver.failure and (driver.failure.phase, driver.failure.error_type)
        )


@for_each(
    "order",
    list(
        itertools.permutations(
            ["report", "extension exits", "runtime exits", "restore/error", "invocation/next", "deadline"], 3
        )
    ),
)
def test_a_restore_fails_with_the_first_stored_fatal_error_however_it_ends(order):
    """In every order of the things that can end it or be stored in it."""
    for length in range(1, len(order) + 1):
        driver = Driver().until_init_end()
        driver.restore()
        for step in order[:length]:
            FATAL_STEPS[step](driver)

        first = outcome_of_restore(order[:length])
        if (
            first is None and "invocation/next" in order[:length]
        ):  # it has gone well: what comes later ends an invocation
            assert driver.ready_ms is not None
            assert driver.failure is None or driver.failure.phase == "invoke"
        else:
            assert first == (driver.failure and driver.failure.error_type)
            assert driver.failure is None or driver.failure.phase == "restore"


@for_each("after_ms, is_hasty", [(0, True), (299, True), (300, False)])
@for_each("how", ["report", "extension exits", "runtime exits"])
def test_what_comes_right_after_restore_error_is_noted_for_the_platform_may_name_it_instead(how, after_ms, is_hasty):
    """The failure stays as reported, as in most lives. The record has the error that could hide it in others."""
    driver = Driver().until_init_end()
    driver.restore()
    driver.restore_error(*report_of("Runtime.AfterRestoreError"))
    driver.now_ms += after_ms
    FATAL_STEPS[how](driver)

    assert driver.failure.error_type == "Runtime.AfterRestoreError"
    assert is_hasty is ("hasty_end" in driver.names())
    if is_hasty:
        (hasty,) = (record for record in driver.records if record.name == "hasty_end")
        name = "bootstrap" if how == "runtime exits" else "snapext"
        assert hasty.detail == {"name": name, "error_type": STORES[how], "after_ms": after_ms}


def test_a_report_after_shutdown_hides_nothing():
    """An extension that waits for SHUTDOWN before it reports and ends does all it can."""
    driver = Driver().until_init_end()
    driver.restore()
    driver.restore_error(*report_of("Runtime.AfterRestoreError"))
    driver.shutdown("failure", 2000)
    assert driver.reply_to(driver.event) is not None
    FATAL_STEPS["report"](driver)
    FATAL_STEPS["extension exits"](driver)

    assert "hasty_end" not in driver.names()


def test_event_next_completes_an_initialisation_whose_runtime_went_first():
    """Successfully: the version is published, although a later restore/next is refused."""
    driver = Driver()
    driver.registered()
    driver.invocation_next()
    refused(driver.restore_next(), 403, "InvalidStateTransition")
    assert not driver.init_ended
    driver.next()

    assert driver.init_ended
    assert not driver.wants_restore
    assert driver.failure is None


def test_nothing_is_ready_in_an_environment_that_has_failed():
    """Init does not end, and a late invocation/next does not repair a failed restore."""
    driver = Driver()
    driver.registered()
    driver.next()
    driver.process_exited("extension", "snapext", 1)
    driver.invocation_next()

    assert not driver.init_ended


@pytest.mark.parametrize(("role", "name"), [("extension", "other"), ("extension", "inner"), ("daemon", "snapext")])
def test_an_exit_of_an_unknown_process_is_a_mistake_of_the_driver(role, name):
    """Only external extensions and the runtime are processes that the platform knows."""
    driver = Driver()
    driver.registered("inner", [])

    with pytest.raises(SimulationError, match=f"{role} {name}"):
        driver.process_exited(role, name, 0)


# --- invocations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("init_type", "version"), [(InitType.SNAP_START, ":1"), (InitType.ON_DEMAND, "")])
def test_an_invocation_is_handed_to_the_runtime_with_its_headers(init_type, version):
    """The event comes with its id, its deadline in Unix ms, the function's ARN and a trace id."""
    driver = Driver(init_type, function_name="shop").until_ready()
    driver.now_ms = 5.0
    request_id = driver.invoke(b'{"a": 1}', 3000)
    reply = driver.reply_to(driver.asked)

    assert (reply.status, reply.body) == (200, b'{"a": 1}')
    assert reply.headers["Lambda-Runtime-Aws-Request-Id"] == request_id
    assert reply.headers["Lambda-Runtime-Deadline-Ms"] == str(UNIX_ORIGIN_MS + 3005)
    assert reply.headers["Lambda-Runtime-Invoked-Function-Arn"].endswith(f":function:shop{version}")
    assert reply.headers["Lambda-Runtime-Trace-Id"].startswith("Root=1-")
    assert reply.headers["Content-Type"] == "application/json"


def test_a_running_runtime_that_asks_again_gets_the_same_event():
    """Until it has answered, each invocation/next returns the same invocation."""
    driver = Driver().until_ready()
    driver.invoke(b"once", 1000)

    assert driver.invocation_next() == driver.invocation_next() == driver.reply_to(driver.asked)


def test_a_second_invocation_next_in_ready_blocks_too_and_the_first_gets_the_event():
    """Both calls are held open; one invocation goes to one of them."""
    driver = Driver().until_ready()
    second = driver.invocation_next()
    driver.invoke(b"x", 1000)

    assert isinstance(second, Blocked)
    assert driver.reply_to(driver.asked).body == b"x"
    assert driver.reply_to(second) is None


def test_an_invocation_is_over_when_it_is_answered_and_the_runtime_has_asked_again():
    """The result has the response, and the times since the start of the invocation."""
    driver = Driver().until_ready()
    driver.now_ms = 100
    request_id = driver.invoke(b"{}", 1000)
    assert driver.missing_for_invocation(request_id) == ["the runtime has not answered"]
    driver.now_ms = 110
    assert driver.begin_response(request_id, {"content-type": "text/plain"}) is None
    assert driver.missing_for_invocation(request_id) == ["the runtime has not finished its response"]
    driver.now_ms = 120
    driver.first_byte()
    driver.now_ms = 130
    driver.first_byte()
    assert accepted(driver.end_response(b"done"))
    assert driver.missing_for_invocation(request_id) == ["the runtime has not asked for invocation/next again"]
    assert driver.result(request_id) is None
    driver.now_ms = 131
    driver.invocation_next()

    result = driver.result(request_id)
    assert (result.ok, result.body, result.error_type) == (True, b"done", None)
    assert (result.first_byte_ms, result.duration_ms) == (20, 31)
    assert result.headers == {"content-type": "text/plain"}
    assert driver.records[-1].name == "invoke_end"
    assert driver.records[-1].detail["response_ms"] == 30


def test_an_empty_response_has_its_first_byte_when_it_ends():
    """No byte ever comes, so the end of the response stands for it."""
    driver = Driver().until_ready()
    request_id = driver.invoke(b"", 1000)
    driver.begin_response(request_id, {})
    driver.now_ms = 7
    driver.end_response(b"")
    driver.invocation_next()

    assert driver.result(request_id).first_byte_ms == 7


def test_a_failed_invocation_is_a_result_and_the_environment_goes_on():
    """invocation/error makes a result that is not ok, with the body as it was sent."""
    driver = Driver().until_ready()
    first = driver.invoke(b"{}", 1000)
    headers = {"lambda-runtime-function-error-type": "Function.Broken"}
    assert accepted(driver.invocation_error(first, headers, b'{"errorMessage": "no"}'))
    driver.invocation_next()
    second = driver.invoke(b"{}", 1000)

    assert (driver.result(first).ok, driver.result(first).error_type) == (False, "Function.Broken")
    assert driver.result(first).body == b'{"errorMessage": "no"}'
    assert driver.failure is None
    assert driver.missing_for_invocation(second) == ["the runtime has not answered"]


def test_a_response_that_breaks_off_is_an_error_of_the_invocation():
    """The runtime gets a 400 and the result says that the response was truncated."""
    driver = Driver().until_ready()
    request_id = driver.invoke(b"{}", 1000)
    driver.begin_response(request_id, {})
    refused(driver.end_response(b"ha", is_complete=False), 400, "TruncatedHTTPRequest")
    driver.invocation_next()

    assert driver.result(request_id).error_type == "Runtime.TruncatedResponse"


def test_a_streamed_response_may_fail_late_in_its_trailers():
    """What was streamed stays in the body; the trailer's error type makes the result not ok."""
    driver = Driver().until_ready()
    request_id = driver.invoke(b"{}", 1000)
    driver.begin_response(request_id, {"lambda-runtime-function-response-mode": "streaming"})
    assert accepted(driver.end_response(b"half", {"lambda-runtime-function-error-type": "Function.Late"}))
    driver.invocation_next()

    result = driver.result(request_id)
    assert (result.ok, result.body, result.error_type) == (False, b"half", "Function.Late")


def test_an_unknown_response_mode_is_refused_and_fails_the_invocation():
    """Lambda-Runtime-Function-Response-Mode accepts only streaming."""
    driver = Driver().until_ready()
    request_id = driver.invoke(b"{}", 1000)
    reply = driver.begin_response(request_id, {"lambda-runtime-function-response-mode": "trickle"})
    refused(reply, 400, "InvalidFunctionResponseMode")
    driver.invocation_next()

    assert driver.result(request_id).error_type == "Runtime.InvalidResponseModeHeader"


@pytest.mark.parametrize("call", ["begin_response", "invocation_error"])
def test_an_answer_with_the_wrong_request_id_is_refused(call):
    """A wrong id is a 400, and the invocation goes on."""
    driver = Driver().until_ready()
    driver.invoke(b"{}", 1000)
    reply = driver.begin_response("x", {}) if call == "begin_response" else driver.invocation_error("x", {}, b"")

    refused(reply, 400, "InvalidRequestID")
    assert driver.runtime is RuntimeState.RUNNING


def test_the_platform_waits_for_extensions_that_take_invoke():
    """The event reaches such an extension, and the invocation lasts until it asks for its next one."""
    driver = Driver().until_ready(events=["INVOKE", "SHUTDOWN"])
    request_id = driver.invoke(b"{}", 1000)
    runtime_event, event = driver.reply_to(driver.asked), driver.reply_to(driver.event)
    driver.begin_response(request_id, {})
    driver.end_response(b"")
    driver.invocation_next()

    assert driver.missing_for_invocation(request_id) == ["extension snapext has not asked for event/next"]
    assert driver.result(request_id) is None
    driver.now_ms = 40
    assert isinstance(driver.next(), Blocked)
    assert driver.result(request_id).duration_ms == 40
    assert uuid.UUID(event.headers["Lambda-Extension-Event-Identifier"])
    assert said(event) == {
        "eventType": "INVOKE",
        "deadlineMs": UNIX_ORIGIN_MS + 1000,
        "requestId": request_id,
        "invokedFunctionArn": runtime_event.headers["Lambda-Runtime-Invoked-Function-Arn"],
        "tracing": {"type": "X-Amzn-Trace-Id", "value": runtime_event.headers["Lambda-Runtime-Trace-Id"]},
    }


def test_an_extension_that_reports_an_error_in_an_invocation_ends_it_by_its_exit():
    """The answer of the runtime is none then: the environment is reset."""
    driver = Driver().until_ready(events=["INVOKE", "SHUTDOWN"])
    request_id = driver.invoke(b"{}", 1000)
    driver.begin_response(request_id, {})
    driver.end_response(b"")
    driver.invocation_next()
    driver.extension_exit_error(driver.identity(**EXIT_ERROR))

    waits = ["extension snapext reported an error, and no process has exited yet"]
    assert driver.missing_for_invocation(request_id) == waits
    driver.process_exited("extension", "snapext", 65)
    assert (driver.failure.phase, driver.failure.error_type) == ("invoke", "Extension.ExitError")
    assert driver.result(request_id) is None


@pytest.mark.parametrize("events", [[], ["SHUTDOWN"]])
def test_an_extension_that_does_not_take_invoke_never_hears_of_an_invocation(events):
    """Its event/next stays open and the invocation does not wait for it."""
    driver = Driver().until_ready(events=events)
    request_id = driver.invoke(b"{}", 1000)
    driver.begin_response(request_id, {})
    driver.end_response(b"")
    driver.invocation_next()

    assert driver.result(request_id).ok
    assert driver.reply_to(driver.event) is None


def test_an_invocation_during_the_restore_is_held_until_the_runtime_is_ready():
    """No event is handed out before the restore is over."""
    driver = Driver().until_init_end(events=["INVOKE"])
    driver.restore()
    request_id = driver.invoke(b"early", 1000)
    assert driver.missing_for_invocation(request_id) == ["the runtime has not asked for invocation/next"]
    assert driver.reply_to(driver.event) is None

    assert driver.invocation_next().body == b"early"
    assert driver.reply_to(driver.event) is not None


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda d: d.registered(), "init has not finished"),
        (lambda d: d.until_init_end(), "not been restored"),
        (lambda d: d.until_ready().invoke(b"", 1), "still running"),
        (lambda d: d.until_ready().shutdown("spindown", 1), "shutting down"),
    ],
)
def test_an_invocation_at_the_wrong_time_is_a_mistake_of_the_driver(prepare, words):
    """One invocation at a time, in an environment that is up."""
    driver = Driver()
    prepare(driver)

    with pytest.raises(SimulationError, match=words):
        driver.invoke(b"", 1000)


# --- shutdown --------------------------------------------------------------------------------------------------------


@for_each("when", ["waiting", "asks later", "busy"])
@for_each("reason", ["spindown", "timeout", "failure"])
def test_a_subscribed_extension_gets_shutdown_when_it_waits_or_at_its_next_call(reason, when):
    """The event has its reason and its deadline in Unix ms; a busy extension gets it later."""
    driver = Driver()
    if when == "asks later":
        driver.registered()
    else:
        driver.until_ready(events=["INVOKE", "SHUTDOWN"])
    if when == "busy":
        driver.invoke(b"{}", 1000)
    driver.now_ms = 10
    driver.shutdown(reason, 2000)
    reply = driver.reply_to(driver.event) if when == "waiting" else driver.next()

    assert reply.status == 200
    assert reply.headers == {"Content-Type": "text/plain; charset=utf-8"}
    expected = {"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": UNIX_ORIGIN_MS + 2010}
    assert expected == said(reply)


def test_shutdown_goes_to_nobody_else_and_happens_once():
    """An extension without the subscription stays blocked, and a second shutdown changes nothing."""
    driver = Driver(extensions=("snapext", "quiet"))
    driver.registered("quiet", [])
    quiet = driver.next("quiet")
    driver.until_ready()
    driver.shutdown("spindown", 2000)
    driver.shutdown("failure", 1)

    assert driver.reply_to(quiet) is None
    assert driver.reply_to(driver.asked) is None
    assert driver.names().count("shutdown") == 1


def test_exits_after_the_shutdown_are_no_failures():
    """Every process is expected to end then, and no deadline is left."""
    driver = Driver().until_init_end()
    driver.restore()
    driver.shutdown("spindown", 2000)
    driver.process_exited("extension", "snapext", 0)
    driver.process_exited("runtime", "bootstrap", -9)
    driver.now_ms = 60_000
    driver.tick()

    assert driver.failure is None
    assert driver.names()[-3:] == ["shutdown", "extension_exit", "runtime_exit"]
