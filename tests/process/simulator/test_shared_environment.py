"""Threads that share one environment: which are woken, and which sleep on."""

from __future__ import annotations

import threading

from helpers import LIMIT_S, wait_until
from snapext_tools.simulator.replies import Blocked, Reply
from snapext_tools.simulator.shared_environment import SharedEnvironment


class WatchedEnvironment:
    """Holds every call, and notes which thread looks for its answer."""

    def __init__(self) -> None:
        self.looked: list[int] = []

    def tick(self, now_ms: float) -> None:
        pass

    def reply_to(self, call: Blocked) -> Reply | None:
        self.looked.append(threading.get_ident())
        return call.reply


def test_a_held_call_sleeps_until_there_is_an_answer_to_it() -> None:
    """An extension that waits for its next event costs the invocations of others nothing, as on Lambda."""
    environment = WatchedEnvironment()
    shared = SharedEnvironment(environment, None)

    def hold() -> tuple[Blocked, threading.Thread]:
        call = Blocked()
        thread = threading.Thread(target=lambda: shared.answer(lambda _environment, _now_ms: call))
        thread.start()
        wait_until(lambda: thread.ident in environment.looked)
        return call, thread

    def answer(call: Blocked, thread: threading.Thread) -> None:
        shared.step(lambda _environment, _now_ms: setattr(call, "reply", Reply(200)))
        thread.join(LIMIT_S)
        assert not thread.is_alive()

    waiting, sleeper = hold()
    before = environment.looked.count(sleeper.ident)
    for _ in range(5):
        answer(*hold())
    assert environment.looked.count(sleeper.ident) == before
    answer(waiting, sleeper)
