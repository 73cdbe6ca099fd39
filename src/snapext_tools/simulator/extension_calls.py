"""The Extensions API of an environment: registration, the wait for events, and error reports."""

from __future__ import annotations

import uuid
from typing import Final

from snapext_tools.simulator.extension import PlatformExtension
from snapext_tools.simulator.machine import Machine
from snapext_tools.simulator.replies import (
    ACCEPTED,
    NO_HEADERS,
    Answer,
    Blocked,
    Headers,
    Reply,
    json_reply,
    message_in,
    object_in,
)
from snapext_tools.simulator.states import (
    EXTENSION_ASKS_FOR,
    FATAL_REPORTS,
    ExtensionCall,
    ExtensionState,
    RuntimeState,
)

MAX_EXTENSIONS: Final = 10


class ExtensionCalls(Machine):
    """The calls of extensions. A refused call gets a Reply."""

    def register(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /extension/register. An extension without a file of its name in the extensions folder is internal."""
        self.tick(now_ms)
        call, name, events = ExtensionCall.REGISTER, headers.get("lambda-extension-name", ""), _events_in(body)
        if not name:
            return self._refuse(call, "Extension.InvalidExtensionName", "Lambda-Extension-Name is missing or empty")
        if events is None:
            message = 'the body must be a JSON object such as {"events": ["SHUTDOWN"]}'
            return self._refuse(call, "InvalidRequestFormat", message)
        extension = self._extensions.get(name) or PlatformExtension(name, False, self._new_id())
        kind, allowed = ("external", ("INVOKE", "SHUTDOWN")) if extension.external else ("internal", ("INVOKE",))
        for event in events:
            if event not in allowed:
                message = f"{event}: an {kind} extension may ask for {' or '.join(allowed)}"
                return self._refuse(call, "Extension.InvalidEventType", message)
        if not extension.external and self.runtime is not RuntimeState.STARTED:
            message = "registration is closed: the runtime has initialised"
            return self._refuse(call, "Extension.RegistrationClosed", message)
        if name not in self._extensions and len(self._extensions) >= MAX_EXTENSIONS:
            message = f"there are already {MAX_EXTENSIONS} extensions"
            return self._refuse(call, "Extension.TooManyExtensions", message)
        if refusal := self._move_extension(extension, call):
            return refusal
        self._extensions[name] = extension
        extension.events = events
        self._record("extension_registered", name=name, events=list(events), internal=not extension.external)
        metadata = {"functionName": self._function_name, "functionVersion": self._version, "handler": "handler"}
        return json_reply(200, metadata, {"Lambda-Extension-Identifier": extension.identifier})

    def event_next(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:  # noqa: ARG002
        """GET /extension/event/next: held open until there is an event for this extension."""
        self.tick(now_ms)
        extension = self._identified(ExtensionCall.EVENT_NEXT, headers)
        if isinstance(extension, Reply):
            return extension
        is_first = extension.state is ExtensionState.REGISTERED
        if refusal := self._move_extension(extension, ExtensionCall.EVENT_NEXT):
            return refusal
        if is_first:
            self._record("extension_ready", name=extension.name)
        held = extension.held = Blocked()
        extension.deliver()
        self._check_init_end()
        self._check_invocation_end()
        return held.reply or held

    def extension_init_error(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /extension/init/error."""
        self.tick(now_ms)
        return self._extension_error(ExtensionCall.INIT_ERROR, "extension_init_error", headers, body)

    def extension_exit_error(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /extension/exit/error."""
        self.tick(now_ms)
        return self._extension_error(ExtensionCall.EXIT_ERROR, "extension_exit_error", headers, body)

    def _extension_error(self, call: ExtensionCall, event_name: str, headers: Headers, body: bytes) -> Reply:
        extension = self._identified(call, headers)
        if isinstance(extension, Reply):
            return extension
        error_type = headers.get("lambda-extension-function-error-type", "")
        if not error_type:
            message = "Lambda-Extension-Function-Error-Type is missing or empty"
            return self._refuse(call, "Extension.MissingHeader", message)
        has_reported, has_event = extension.is_over, extension.state is ExtensionState.RUNNING
        if refusal := self._move_extension(extension, call):
            return refusal
        if not has_reported:
            report, fatal = object_in(body) or {}, FATAL_REPORTS[call]
            self._record(event_name, name=extension.name, error_type=error_type, body=report)
            message = f"extension {extension.name} reported {error_type} to {call}"
            self._store(fatal, ": ".join(filter(None, (message, message_in(report)))), report)
            if not has_event:
                self._record_haste(extension.name, fatal)
        return ACCEPTED

    def _identified(self, call: ExtensionCall, headers: Headers) -> PlatformExtension | Reply:
        given = headers.get("lambda-extension-identifier", "")
        if not given:
            message = "Lambda-Extension-Identifier is missing"
            return self._refuse(call, "Extension.MissingExtensionIdentifier", message)
        try:
            identifier = str(uuid.UUID(given))
        except ValueError:
            message = "Lambda-Extension-Identifier is not a UUID"
            return self._refuse(call, "Extension.InvalidExtensionIdentifier", message)
        for extension in self._extensions.values():
            if extension.identifier == identifier:
                return extension
        message = f"no extension has the identifier {identifier}"
        return self._refuse(call, "Extension.UnknownExtensionIdentifier", message)

    def _move_extension(self, extension: PlatformExtension, call: ExtensionCall) -> Reply | None:
        """Make the transition, or return the refusal."""
        if extension.move(call):
            return None
        asked = EXTENSION_ASKS_FOR[call]
        message = f"extension {extension.name} is in state {extension.state}, from which it cannot go to {asked}"
        return self._refuse(call, "Extension.InvalidExtensionState", message)


def _events_in(body: bytes) -> tuple[str, ...] | None:
    """The events that a registration asks for; None when the body is malformed."""
    request = object_in(body)
    if request is None:
        return None
    events = request.get("events")
    if events is None:
        return ()
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        return None
    return tuple(dict.fromkeys(events))
