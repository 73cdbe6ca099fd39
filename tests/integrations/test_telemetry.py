"""OpenTelemetry and Sentry, with their real exporters and a server that takes what they send."""

from __future__ import annotations

import socket
import sys
import threading
import types

import pytest
from collector import collector
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from helpers import wait_until
from snapext.guest import notice
from snapext.integrations import ddtrace, flushing, opentelemetry, sentry

hidden = "eventlet" not in sys.modules
if hidden:  # sentry_sdk imports it where it is installed, and from then on it warns of each fork
    sys.modules["eventlet"] = None
import sentry_sdk  # noqa: E402

if hidden:
    del sys.modules["eventlet"]


@pytest.fixture
def server():
    with collector() as found:
        yield found


def spans(server):
    requests = map(ExportTraceServiceRequest.FromString, server.bodies("/v1/traces"))
    return [s.name for r in requests for resource in r.resource_spans for sc in resource.scope_spans for s in sc.spans]


def test_opentelemetry_sends_what_is_queued_and_closes_its_connections(server, boundary):
    """Spans, metrics and log records reach the collector once; after the restore each exporter connects anew."""
    resource = Resource({"service.name": "test"})
    traces, logs = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"http://{server.url}/v1/traces")))
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"http://{server.url}/v1/logs")))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"http://{server.url}/v1/metrics"))
    metrics = MeterProvider([reader], resource=resource)
    opentelemetry.install()

    def use(name):
        with traces.get_tracer("t").start_as_current_span(name):
            metrics.get_meter("m").create_counter(name).add(1)
            logs.get_logger("l").emit(body=name)

    use("before")
    boundary.before()
    assert spans(server) == ["before"]
    assert {path for path, _, _ in server.posts} == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    wait_until(lambda: not server.open)
    frozen = {address for _, address, _ in server.posts}

    traces.get_tracer("t").start_span("in-between").end()  # a span alone: logs are sent in the background
    traces.force_flush()
    assert server.open
    boundary.after()
    wait_until(lambda: not server.open)
    use("after")
    for provider in (traces, metrics, logs):
        provider.force_flush()
        provider.shutdown()
    assert spans(server) == ["before", "in-between", "after"]
    assert not frozen & {address for _, address, _ in server.posts[-3:]}
    assert [line for line in boundary.lines if "opentelemetry" in line] == []


class Stuck(SpanProcessor):
    """Of a collector that takes the connection and nothing more."""

    def __init__(self):
        self.go = threading.Event()

    def force_flush(self, timeout_millis=0):
        return self.go.wait(20)


def test_opentelemetry_says_what_it_cannot_do(boundary, monkeypatch):
    """It waits for no collector longer than a boundary can; and a resource is what it was when it was made."""
    monkeypatch.setattr(flushing, "FLUSH_WITHIN_S", 0.05)
    provider, stuck = TracerProvider(resource=Resource({"service.instance.id": "i-1"})), Stuck()
    provider.add_span_processor(stuck)
    opentelemetry.install(provider)
    boundary.before()
    boundary.after()
    stuck.go.set()
    provider.shutdown()
    late, instance = boundary.lines
    assert "opentelemetry: not all that was queued could be sent within" in late
    assert "the resource has service.instance.id=i-1, which all clones share" in instance


def test_sentry_sends_what_is_queued_and_closes_its_connections(server, boundary):
    """Each event reaches the server once; after the restore its transport connects anew."""
    sentry_sdk.init(f"http://key@{server.url}/1", default_integrations=False, auto_enabling_integrations=False)
    try:
        sentry.install()
        sentry_sdk.capture_message("in the queue")
        boundary.before()
        ((path, frozen, body),) = server.posts
        assert b"in the queue" in body
        wait_until(lambda: not server.open)
        sentry_sdk.capture_message("in-between")
        sentry_sdk.flush()
        boundary.after()
        wait_until(lambda: not server.open)
        sentry_sdk.capture_message("after the restore")
        sentry_sdk.flush()
        assert [posted for posted, _, _ in server.posts] == [path] * 3
        assert server.posts[-1][1] != frozen
        assert boundary.lines == []
    finally:
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)


def test_sentry_says_what_it_could_not_send(boundary, monkeypatch):
    """A server that takes the connection and never answers."""
    monkeypatch.setattr(sentry, "FLUSH_WITHIN_S", 0.05)
    sentry.install()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        sentry_sdk.init(f"http://key@127.0.0.1:{port}/1", default_integrations=False, auto_enabling_integrations=False)
        sentry_sdk.capture_message("in the queue")
        boundary.before()
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)
    (line,) = boundary.lines
    assert "sentry: not all that was queued could be sent within" in line


def test_sentry_without_a_server_is_nothing(boundary):
    """Nobody has called init, or it has no DSN; a transport of another kind is named."""
    sentry.install()
    boundary.before()
    assert boundary.lines == []

    class OtherTransport(sentry_sdk.transport.Transport):
        def capture_envelope(self, envelope):
            pass

    sentry_sdk.init("http://key@127.0.0.1:1/1", transport=OtherTransport, default_integrations=False)
    try:
        boundary.before()
        boundary.after()
    finally:
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)
    assert "its transport OtherTransport keeps connections" in boundary.lines[0]


def test_datadogs_tracer_is_flushed(boundary, monkeypatch):
    """With a stand-in for the library, which is too large for our tests; it was tried by hand."""
    flushed = []

    def flush():
        flushed.append(threading.current_thread().name)
        if len(flushed) > 1:
            raise OSError("no agent")

    module = types.ModuleType("ddtrace.trace")
    module.tracer = type("Tracer", (), {"flush": staticmethod(flush)})()
    package = types.ModuleType("ddtrace")
    package.__version__ = "4.13.0rc1"
    monkeypatch.setitem(sys.modules, "ddtrace", package)
    monkeypatch.setitem(sys.modules, "ddtrace.trace", module)
    monkeypatch.setenv("AWS_LAMBDA_MICROVM_IMAGE_ARN", "snapstart")
    ddtrace.install()
    boundary.before()
    assert flushed == ["snapext-flush"]
    assert boundary.lines == []
    for version, variable in (("4.12.4", "snapstart"), ("4.16.0", "")):
        package.__version__ = version
        monkeypatch.setenv("AWS_LAMBDA_MICROVM_IMAGE_ARN", variable)
        monkeypatch.setattr(notice, "_said", set())
        flushed.clear()
        boundary.before()
        assert "the ids of its traces and spans repeat in every clone" in boundary.lines.pop()
    with pytest.raises(AssertionError, match="no agent"):
        boundary.before()
