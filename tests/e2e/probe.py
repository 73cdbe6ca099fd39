"""Asks the two APIs of a platform for everything that can be refused or answered, and writes down what it got.

`probe.py extension SCENARIO` is the extension `probe`, `probe.py runtime SCENARIO` the runtime, under AWS's emulator
and under our local Lambda alike. $PROBE_FOLDER gets one JSON file of answers from each. Standard library only.
"""

import http.client
import json
import os
import re
import sys
import threading
import time

EXTENSIONS = "/2020-01-01/extension"
RUNTIME = "/2018-06-01/runtime"
NO_SUCH_ID = "00000000-0000-4000-8000-000000000000"
TYPED = {"Lambda-Runtime-Function-Error-Type": "Runtime.Probe"}
LIMIT_S = 20

answers = []


def request(method, path, headers=None, body=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.getheaders(), response.read()
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return None, [], b""
    finally:
        connection.close()


def call(name, method, path, headers=None, body=None):
    """Make one call and note its answer: status, error type, the body's keys and type, and the headers that matter.

    The status is None when the connection was dropped without an answer.
    """
    status, received, data = request(method, path, headers, body)
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    got = {name.lower(): value for name, value in received}
    answers.append(
        {
            "call": name,
            "status": status,
            "error_type": content.get("errorType") if isinstance(content, dict) else None,
            "keys": sorted(content) if isinstance(content, dict) and status < 300 else None,
            "type": got.get("content-type", "").partition(";")[0],
            "headers": sorted(key for key in got if key.startswith("lambda-")),
        }
    )
    return got, content


def begin(name, path, state, refused=("POST", "restore/error")):
    """Ask for something that is held, in a thread, and go on once the platform says that the runtime is in `state`.

    It says so where it refuses a call, and nowhere else. `refused` is one that is refused before and after.
    """
    got = {}
    thread = threading.Thread(target=lambda: got.update(call(name, "GET", path)[0]), daemon=True)
    thread.start()
    deadline = time.monotonic() + LIMIT_S
    while True:
        _status, _headers, data = request(refused[0], f"{RUNTIME}/{refused[1]}", TYPED, b"{}")
        if re.search(rf"(from|in state) {state}\b", data.decode()):  # «from Restoring to Ready» is not there yet
            return thread, got
        if time.monotonic() > deadline:
            sys.exit(f"the runtime is not in state {state}: {data!r}")
        time.sleep(0.005)


def finish(begun):
    """Wait for the answer to what was held; returns its headers."""
    thread, got = begun
    thread.join(LIMIT_S)
    if thread.is_alive():
        sys.exit("a call that is to be released is still held")
    return got


def write(role):
    path = os.path.join(os.environ["PROBE_FOLDER"], role)
    with open(f"{path}.part", "w") as file:
        json.dump(answers, file)
    os.rename(f"{path}.part", path)


def let_init_end():
    """The extension asks for its next event only now: until then there is no snapshot, and so no restore."""
    open(os.path.join(os.environ["PROBE_FOLDER"], "go"), "w").close()


def await_go():
    deadline = time.monotonic() + LIMIT_S
    while not os.path.exists(os.path.join(os.environ["PROBE_FOLDER"], "go")):
        if time.monotonic() > deadline:
            sys.exit("the runtime never got so far that init may end")
        time.sleep(0.005)


def stay():
    """Until the platform is ended: a process that exits would change what is compared."""
    threading.Event().wait(60)


# --- a life on demand -----------------------------------------------------------------------------------------------


def on_demand_extension():
    name = {"Lambda-Extension-Name": "probe"}
    register, following = f"{EXTENSIONS}/register", f"{EXTENSIONS}/event/next"
    call("register without a name", "POST", register, {}, b'{"events":[]}')
    call("register with a body that is not JSON", "POST", register, name, b"{")
    call("register for an unknown event", "POST", register, name, b'{"events":["RESTORE"]}')
    call("event/next without an identifier", "GET", following)
    call("event/next with a malformed identifier", "GET", following, {"Lambda-Extension-Identifier": "x"})
    call("event/next with an unknown identifier", "GET", following, {"Lambda-Extension-Identifier": NO_SUCH_ID})
    call(
        "an internal extension registers for SHUTDOWN",
        "POST",
        register,
        {"Lambda-Extension-Name": "inner"},
        b'{"events":["SHUTDOWN"]}',
    )
    got, _ = call("register", "POST", register, name, b'{"events":["INVOKE","SHUTDOWN"]}')
    me = {"Lambda-Extension-Identifier": got["lambda-extension-identifier"]}
    call("register again", "POST", register, name, b'{"events":[]}')
    call("extension init/error without a type", "POST", f"{EXTENSIONS}/init/error", me, b"{}")
    call("extension exit/error without a type", "POST", f"{EXTENSIONS}/exit/error", me, b"{}")
    call(
        "extension exit/error of somebody unknown",
        "POST",
        f"{EXTENSIONS}/exit/error",
        {"Lambda-Extension-Identifier": NO_SUCH_ID, "Lambda-Extension-Function-Error-Type": "Extension.X"},
        b"{}",
    )
    call("an unknown path", "GET", f"{EXTENSIONS}/nonsense")
    call("a known path with another method", "GET", register)
    call("HEAD of a path that is to be posted to", "HEAD", register)
    call("HEAD of a path that is to be got", "HEAD", following)
    call("POST to a path that is to be got", "POST", following, me, b"")
    call("event/next: INVOKE", "GET", following, me)
    write("extension")
    call("event/next: SHUTDOWN", "GET", following, me)
    write("extension-shutdown")


def on_demand_runtime():
    following = f"{RUNTIME}/invocation/next"
    call("restore/next on demand", "GET", f"{RUNTIME}/restore/next")
    call("restore/error on demand", "POST", f"{RUNTIME}/restore/error", TYPED, b"{}")
    call("a response to no invocation", "POST", f"{RUNTIME}/invocation/{NO_SUCH_ID}/response", {}, b"{}")
    got, _ = call("invocation/next", "GET", following)
    request_id = got["lambda-runtime-aws-request-id"]
    call("invocation/next again before the answer", "GET", following)
    call("init/error while an invocation runs", "POST", f"{RUNTIME}/init/error", TYPED, b"{}")
    call("a response to another invocation", "POST", f"{RUNTIME}/invocation/{NO_SUCH_ID}/response", {}, b"{}")
    call("an error of another invocation", "POST", f"{RUNTIME}/invocation/{NO_SUCH_ID}/error", TYPED, b"{}")
    call("a response", "POST", f"{RUNTIME}/invocation/{request_id}/response", {}, b'"served"')
    call("a second response", "POST", f"{RUNTIME}/invocation/{request_id}/response", {}, b'"again"')
    call("an unknown runtime path", "GET", f"{RUNTIME}/nonsense")
    call("a known runtime path with another method", "GET", f"{RUNTIME}/init/error")
    call("HEAD of invocation/next", "HEAD", following)
    call("POST to invocation/next", "POST", following)
    serve_no_more()


def serve_no_more():
    """The invocation is over once the next one has been asked for; there is none."""
    write("runtime")
    threading.Thread(target=request, args=("GET", f"{RUNTIME}/invocation/next"), daemon=True).start()
    stay()


# --- lives with SnapStart -------------------------------------------------------------------------------------------


def registered():
    register = f"{EXTENSIONS}/register"
    got, _ = call("register", "POST", register, {"Lambda-Extension-Name": "probe"}, b'{"events":["SHUTDOWN"]}')
    return {"Lambda-Extension-Identifier": got["lambda-extension-identifier"]}


def waiting_extension():
    """Holds init back until the runtime has made its calls before the restore."""
    too_early = "before every extension has registered"
    call(f"restore/next {too_early}", "GET", f"{RUNTIME}/restore/next")
    call(f"restore/error {too_early}", "POST", f"{RUNTIME}/restore/error", TYPED, b"{}")
    call(f"invocation/next {too_early}", "GET", f"{RUNTIME}/invocation/next")
    call(f"init/error {too_early}", "POST", f"{RUNTIME}/init/error", TYPED, b"{}")
    call(f"a response {too_early}", "POST", f"{RUNTIME}/invocation/{NO_SUCH_ID}/response", {}, b"{}")
    me = registered()
    await_go()
    write("extension")
    call("event/next: SHUTDOWN", "GET", f"{EXTENSIONS}/event/next", me)


def failing_extension(kind, other):
    """Reports an error of its own, and then makes every call that is no longer allowed."""

    def run():
        me = registered()
        typed = {**me, "Lambda-Extension-Function-Error-Type": "Extension.Probe"}
        await_go()
        call(f"extension {kind}", "POST", f"{EXTENSIONS}/{kind}", typed, b"{}")
        call(f"extension {kind} again", "POST", f"{EXTENSIONS}/{kind}", typed, b"{}")
        call(f"extension {other} after its {kind}", "POST", f"{EXTENSIONS}/{other}", typed, b"{}")
        call(f"event/next after its {kind}", "GET", f"{EXTENSIONS}/event/next", me)
        write("extension")
        stay()

    return run


def idle_runtime():
    let_init_end()
    write("runtime")
    stay()


def ask_all(when):
    """Every call that changes the runtime's state; to be used where each of them is refused."""
    call(f"restore/next {when}", "GET", f"{RUNTIME}/restore/next")
    call(f"restore/error {when}", "POST", f"{RUNTIME}/restore/error", TYPED, b"{}")
    call(f"init/error {when}", "POST", f"{RUNTIME}/init/error", TYPED, b"{}")
    call(f"a response {when}", "POST", f"{RUNTIME}/invocation/{NO_SUCH_ID}/response", {}, b"{}")


def restore():
    """Ask for restore/next, and on the way for all that is refused; return when it has been answered."""
    call("restore/error before restore/next", "POST", f"{RUNTIME}/restore/error", TYPED, b"{}")
    held = begin("restore/next", f"{RUNTIME}/restore/next", "RestoreReady")
    ask_all("while restore/next is held")
    call("invocation/next while restore/next is held", "GET", f"{RUNTIME}/invocation/next")
    let_init_end()
    finish(held)
    call("restore/next after the restore", "GET", f"{RUNTIME}/restore/next")


def restored_runtime():
    restore()
    begin("invocation/next", f"{RUNTIME}/invocation/next", "Ready", refused=("GET", "restore/next"))
    ask_all("once the restore is over")
    write("runtime")
    stay()


def failed_restore_runtime(report):
    def run():
        restore()
        call(f"{report} after the restore", "POST", f"{RUNTIME}/{report}", TYPED, b"{}")
        call(f"invocation/next after the restore's {report}", "GET", f"{RUNTIME}/invocation/next")
        ask_all(f"after the restore's {report}")
        write("runtime")
        stay()

    return run


def uninterested_runtime():
    """Asks for its first invocation at once: the platform restores it, and it never hears of that."""
    held = begin("invocation/next instead of restore/next", f"{RUNTIME}/invocation/next", "Ready")
    ask_all("after invocation/next")
    let_init_end()
    request_id = finish(held)["lambda-runtime-aws-request-id"]
    ask_all("while an invocation runs")
    call("a response after all", "POST", f"{RUNTIME}/invocation/{request_id}/response", {}, b'"served"')
    serve_no_more()


def failed_init_runtime():
    call("init/error", "POST", f"{RUNTIME}/init/error", TYPED, b"{}")
    call("invocation/next after init/error", "GET", f"{RUNTIME}/invocation/next")
    ask_all("after init/error")
    write("runtime")
    stay()


SCENARIOS = {
    "on-demand": (on_demand_extension, on_demand_runtime),
    "restored": (waiting_extension, restored_runtime),
    "restore-error": (waiting_extension, failed_restore_runtime("restore/error")),
    "restore-init-error": (waiting_extension, failed_restore_runtime("init/error")),
    "uninterested": (waiting_extension, uninterested_runtime),
    "init-error": (waiting_extension, failed_init_runtime),
    "extension-init-error": (failing_extension("init/error", "exit/error"), idle_runtime),
    "extension-exit-error": (failing_extension("exit/error", "init/error"), idle_runtime),
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[2]][sys.argv[1] == "runtime"]()
