"""A web adapter of the newer kind that drops a readiness check after 0.3 s, and repeats it until one is answered.

/runtime/restore/next and AWS_LWA_SNAPSTART are what the extension knows that kind by; its file has to hold them.
"""

import json
import os
import threading
import time

import requests

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}"
APP = f"http://127.0.0.1:{os.environ['PORT']}"
CHECK = f"http://127.0.0.1:{os.environ['AWS_LWA_READINESS_CHECK_PORT']}/ready"
RUNTIME = f"{API}/2018-06-01/runtime"
EXTENSION = f"{API}/2020-01-01/extension"


def check():
    while True:
        try:
            if requests.get(CHECK, timeout=0.3).ok:
                return
        except requests.RequestException:
            time.sleep(0.01)


def serve():
    while True:
        event = requests.get(f"{RUNTIME}/invocation/next")
        status = requests.get(APP + event.json()["rawPath"]).status_code
        path = f"{RUNTIME}/invocation/{event.headers['Lambda-Runtime-Aws-Request-Id']}/response"
        requests.post(path, json.dumps({"statusCode": status, "body": "{}"}))


headers = {"Lambda-Extension-Name": "lambda-adapter"}
registered = requests.post(f"{EXTENSION}/register", json={"events": []}, headers=headers)
identity = {"Lambda-Extension-Identifier": registered.headers["Lambda-Extension-Identifier"]}
ask = {"args": (f"{EXTENSION}/event/next",), "kwargs": {"headers": identity}}
threading.Thread(target=requests.get, daemon=True, **ask).start()
check()
requests.get(f"{RUNTIME}/restore/next")
check()
serve()
