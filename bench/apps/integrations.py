"""What `install_all()` costs: `integrations.py NAME...` makes what NAME says, runs both phases, and prints JSON.

The phases are those of the link, without a platform: the look before the snapshot, the work after the restore.
"""

import sys
import time

OBJECTS = 100_000
ENGINES = 4


def make(name: str) -> object:
    """Something that an app would have; nothing of it connects."""
    if name == "sqlalchemy":
        from sqlalchemy import create_engine

        return [create_engine("mysql+pymysql://nobody@127.0.0.1:1/none") for _ in range(ENGINES)]
    if name == "django":
        from django.conf import settings
        from django.db import connections

        one = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        settings.configure(DATABASES={"default": one, **{str(number): one for number in range(1, ENGINES)}})
        return list(connections.all())
    return [{} for _ in range(OBJECTS)]


def main() -> None:
    import snapext
    from snapext.hooks import own_loops, runner

    kept = [make(name) for name in ("objects", *sys.argv[1:])]
    snapext.register_after_restore(str)  # what the first hook imports is not the integrations' cost
    began = time.perf_counter()
    snapext.install_all()
    installed = time.perf_counter()
    hooks = (snapext.get_before_snapshot(), snapext.get_after_restore())
    own_loops.settle()
    before = runner.run(runner.before_snapshot(*hooks, 10_000, lambda _: None))
    own_loops.settle()
    looked = time.perf_counter()
    after = runner.run(runner.after_restore(hooks[1], 10_000, lambda _: None))
    renewed = time.perf_counter()
    if before.error or after.error:
        sys.exit(str(before.error or after.error))
    figures = {
        "install_all_ms": installed - began,
        "before_snapshot_ms": looked - installed,
        "after_restore_ms": renewed - looked,
    }
    print("{" + ", ".join(f'"{name}": {value * 1000}' for name, value in figures.items()) + "}")  # noqa: T201 - the benchmark reads it
    del kept


main()
