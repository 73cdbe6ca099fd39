"""What `import snapext` costs: `import_snapext.py [MODULE...]` imports the modules named first, and prints JSON.

It imports nothing else but what is built in: modules already loaded would make snapext look cheaper.
"""

import gc
import os
import sys
import time


def pss_kb() -> int:
    with open("/proc/self/smaps_rollup", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def main() -> None:
    for name in sys.argv[1:]:
        __import__(name)
    gc.collect()  # of what they left: 4 ms behind uvicorn, which would fall into the measuring, or not, by chance
    threads_before, before_kb = threads(), pss_kb()
    began = time.perf_counter()
    import snapext

    imported = time.perf_counter()
    threads_imported, imported_kb = threads(), pss_kb()
    began_hook = time.perf_counter()
    snapext.register_after_restore(main)
    hooked = time.perf_counter()
    figures = {
        "import_ms": (imported - began) * 1000,
        "first_hook_ms": (hooked - began_hook) * 1000,
        "import_mb": (imported_kb - before_kb) / 1024,
        "threads_import": threads_imported - threads_before,
        "threads_hook": threads() - threads_before,
    }
    print("{" + ", ".join(f'"{name}": {value}' for name, value in figures.items()) + "}")  # noqa: T201 - the benchmark reads it


main()
