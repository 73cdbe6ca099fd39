"""The nine parts of a run: what each measures, how often, and what the report says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench import footprint, integrations, invocation, limited, middleware, restore, scale, startup
from bench.rounds import Result
from bench.stage import Stage

Tell = Callable[[str], None]
Measurer = Callable[[Stage, int, Tell], Result]


@dataclass(frozen=True, slots=True)
class Part:
    """`reference`: for each metric (its name before the comma) the set-up by which the others are divided.

    `pairs`: figures at the same place belong to the same round.
    """

    name: str
    title: str
    text: str
    measure: Measurer
    rounds: int
    quick: Measurer
    quick_rounds: int
    reference: Mapping[str, str] = field(default_factory=dict)
    by_count: bool = False


def _quick_restore(stage: Stage, rounds: int, tell: Tell) -> Result:
    """Environments with 4 workers take twice as long."""
    result, of_4 = restore.measure(stage, rounds, tell, (1,)), restore.measure(stage, 2, tell, (4,))
    result.figures |= of_4.figures
    result.dropped += of_4.dropped
    return result


def _quick_limited(stage: Stage, rounds: int, tell: Tell) -> Result:
    return limited.measure(stage, rounds, tell, (4,))


def _quick_scale(stage: Stage, rounds: int, tell: Tell) -> Result:
    return scale.measure(stage, rounds, tell, processes=(1, 8, 64), hooks=(1, 100))


PARTS = (
    Part(
        "restore",
        "Restore latency and first response",
        """\
`restore_ms`: from the moment at which the platform answers `restore/next` until the runtime asks for
`invocation/next`; `first_response_ms`: from there until the first byte of the first response. Every hook is empty, so
this is the way to the hooks and back. The invocation is already waiting when the environment is restored, as on Lambda.
Each sample is a fresh environment that was idle for 150 ms before: a restore happens once, and cold.

- *real* is the web adapter 0.9.1, a native program. *stand-in* is this project's adapter of the 1.1 generation in
  Python with `requests`, slower than a native one: no package registry has a release from 1.1 on.
  *bare* is the best case for that generation: raw sockets, and the POST and the second readiness check use a
  connection that is already open, where the real one opens a new one (`bench/apps/bare_adapter.py`).
- *HTTP hooks* are the adapter's own: a POST to the app, then a readiness check. **They, and counting pings, reach one
  worker of several**; snapext reaches each. So with 4 workers snapext does four times what they do.
- *counting pings* is the common workaround behind an adapter before 1.1: a middleware that takes the first request
  after the readiness checks for the first one after the restore. Nothing asks for `restore/next`, so it has no
  `restore_ms`; nothing is held back, and a failing hook fails the request.
- *awslambdaric* runs the hooks in its one process, and serves its own handler: no web server is behind it.
- *floor*: a bare runtime over raw sockets that asks for `restore/next`, sends one line over a Unix socket to another
  bare process (to each of 4), reads it back, and asks for `invocation/next`. The same platform measures it and the
  others, so all of them carry the same cost of measuring, which *the measuring itself* shows: the same runtime
  without the line. `ping_cold_ms` is that one round trip as the process itself sees it, `ping_hot_ms` the median of
  2000 more in a loop, which no restore ever sees.
- The app is plain ASGI under uvicorn with h11, as `pip install uvicorn` gives it.""",
        restore.measure,
        50,
        _quick_restore,
        3,
        {"restore_ms": restore.HTTP_BARE, "first_response_ms": restore.HTTP_BARE},
    ),
    Part(
        "scale",
        "Scale",
        """\
Restore latency by the number of linked processes (one empty hook in each), and by the number of hooks in one process.
The processes are forks that do nothing else; the adapter is the real one. The floor is the bare runtime that sends to
as many bare processes and reads from each. Everything shares this machine's cores; `extension_cpu_ms` is how long the
extension ran from the restore to the first response, `process_cpu_ms` how long each linked process did on average.""",
        scale.measure,
        20,
        _quick_scale,
        2,
        by_count=True,
    ),
    Part(
        "invocation",
        "The cost of an invocation",
        f"""\
Three environments live side by side behind the real adapter: one with snapext, two without, whose ratio shows the noise
of this run. Each gets a block of {invocation.BLOCK} invocations in turn, one after another, {invocation.BLOCKS} times
({invocation.QUICK_BLOCKS} in a quick run); each round is a new set of environments, and the order rotates. An
environment handles one invocation at a time, so throughput is that of one caller, taken from an environment's median
block. Latencies are those of all invocations. A stream has 8 pieces of 1 KB.""",
        invocation.measure,
        40,
        lambda stage, rounds, tell: invocation.measure(stage, rounds, tell, blocks=invocation.QUICK_BLOCKS),
        3,
        {"throughput_per_s": invocation.WITHOUT},
    ),
    Part(
        "middleware",
        "The middleware",
        """\
What `SnapStartMiddleware` adds to a request that passes: calls of an empty app with it and without it, in a loop, the
best of 20 times 2,000. No server is involved: its own noise is larger than this. *before* the restore each request
reads two clocks, and no lock is taken; *after* it none is read.""",
        middleware.measure,
        20,
        middleware.measure,
        3,
        {middleware.BEFORE: middleware.CLOCK},
    ),
    Part(
        "startup",
        "Start-up, memory and import",
        """\
`register_ms`: from `exec` of a program to its register call; the runtime starts only after it. One row is a bare
interpreter that does nothing, timed to its exit. `listen_ms`: from the answer to that call until the extension listens,
on its socket for the processes and on the gate; the runtime starts at the same time, on the same processor. `pss_mb`:
at that call, and for snapext around the boundary with one process linked (PSS: each process has its part of shared
pages; other Pythons run here). `import_ms` and `import_mb`: `import snapext` in an interpreter that has imported only
`os`, `sys` and `time`; `first_hook_ms`: the first `register_after_restore` after it, which imports more and starts the
link's thread. Below /opt no process can save compiled files, so from the layer each process compiles every file that
the layer does not contain compiled.""",
        startup.measure,
        60,
        startup.measure,
        3,
        {"register_ms": startup.EXIT_ONLY},
    ),
    Part(
        "footprint",
        "The pages that a restore touches",
        """\
Pages of 4 KB that a process touches between the restore and `invocation/next` (`/proc/PID/clear_refs`, then
`Referenced` in `smaps`); *own* are those without a file behind them. On Lambda a cold page is a read from the snapshot.
Pages of the same file, such as the interpreter's, are read once for all processes. *no restore* is the same
environment, idle for 10 ms. uvicorn wakes up ten times a second, restore or not: all of this begins right behind such a
tick, and one row shows what it touches by itself. `RAND_add` alone, which renews OpenSSL's generator, touches some 100
pages, 63 of them of libcrypto.""",
        footprint.measure,
        20,
        footprint.measure,
        2,
    ),
    Part(
        "integrations",
        "Integrations",
        f"""\
What `snapext.install_all()` costs: `{integrations.INSTALL}` where it is called, as a rule while the app is imported;
`{integrations.BEFORE}`, the look at 100,000 objects more than the app's own, and closing; `{integrations.AFTER}`, which
delays the restore. Nothing is connected: closing and connecting cost what the library and its server take.""",
        integrations.measure,
        20,
        integrations.measure,
        2,
    ),
    Part(
        "limited",
        "With 0.1 CPU",
        """\
The CPU of small functions: on Lambda 1,769 MB get one CPU. The environment is in a control group that may run 10 ms in
every 100 ms; the platform stays outside. Init runs without the limit, since under it each life would take half a
minute. The limit starts once every process is idle: otherwise it would measure workers that are still importing, for
which nothing waits without snapext. `throttled_ms`: how long the limit kept the group from running, up to the first
response. `register_ms`, `import_ms` and `first_hook_ms` are under the limit from `exec` on.""",
        limited.measure,
        20,
        _quick_limited,
        2,
        {"restore_ms": restore.HTTP_BARE, "first_response_ms": restore.HTTP_BARE, "register_ms": startup.EXIT_ONLY},
    ),
)
