"""Asks the two APIs of a platform for everything that can be refused or answered, and writes down what it got.

Started as the extension `probe` (`probe.py extension`) and as the runtime (`probe.py runtime`), under AWS's emulator
and under our local Lambda alike; $PROBE_FOLDER gets one JSON file from each. Standard library only.
"""

import http.client
import json
import os
import sys
import threading

EXTENSIONS = "/2020-01-01/extension"
RUNTIME = "/2018-06-01/runtime"
NO_SUCH_ID = "00000000-0000-4000-8000-000000000000"

answers = []


def call(name, method, path, headers=None, body=None):
    """Make one call and note its answer: status, error type, the body's keys, and the headers that matter."""
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=30)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    got = {name.lower(): value for name, value in response.getheaders()}
    answers.append(
        {
            "call": name,
            "status": response.status,
            "error_type": content.get("errorType") if isinstance(content, dict) else None,
            "keys": sorted(content) if isinstance(content, dict) and response.status < 300 else None,
            "headers": sorted(key for key in got if key.startswith("lambda-")),
        }
    )
    return got, content


def write(role):
    path = os.path.join(os.environ["PROBE_FOLDER"], role)
    with open(f"{path}.part", "w") as file:
        json.dump(answers, file)
    os.rename(f"{path}.part", path)


def extension():
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
    call("event/next: INVOKE", "GET", following, me)
    write("extension")
    call("event/next: SHUTDOWN", "GET", following, me)
    write("extension-shutdown")


def runtime():
    following = f"{RUNTIME}/invocation/next"
    typed = {"Lambda-Runtime-Function-Error-Type": "Runtime.Probe"}
    call("restore/next on demand", "GET", f"{RUNTIME}/restore/next")
    call("restore/error on demand", "POST", f"{RUNTIME}/restore/error", typed, b"{}")
    call("a response to no invocation", "POST", f"{RUNTIME}/invocation/{NO_SUCH_ID}/response", {}, b"{}")
    got, _ = call("invocation/next", "GET", following)
    request = got["lambda-runtime-aws-request-id"]
    call("invocation/next again before the answer", "GET", following)
    call("init/error while an invocation runs", "POST", f"{RUNTIME}/init/error", typed, b"{}")
    call("a response to another invocation", "POST", f"{RUNTIME}/invocation/{NO_SUCH_ID}/response", {}, b"{}")
    call("an error of another invocation", "POST", f"{RUNTIME}/invocation/{NO_SUCH_ID}/error", typed, b"{}")
    call("a response", "POST", f"{RUNTIME}/invocation/{request}/response", {}, b'"served"')
    call("a second response", "POST", f"{RUNTIME}/invocation/{request}/response", {}, b'"again"')
    call("an unknown runtime path", "GET", f"{RUNTIME}/nonsense")
    write("runtime")
    threading.Thread(target=call, args=("invocation/next, nothing to do", "GET", following), daemon=True).start()
    threading.Event().wait(30)


{"extension": extension, "runtime": runtime}[sys.argv[1]]()
