"""Kill snapext's extension (SIGNAL, by default KILL) and stay: what the platform then sees is a crash."""

import os
import signal
import threading

import psutil

for process in psutil.Process(os.getppid()).children():
    if process.pid != os.getpid() and "snapext_extension" in " ".join(process.cmdline()):
        process.send_signal(signal.Signals[f"SIG{os.environ.get('SIGNAL', 'KILL')}"])
threading.Event().wait(60)
