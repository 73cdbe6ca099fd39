"""The names on the wire, in the log and in settings: of the two phases in which hooks run, and of the end."""

BEFORE_SNAPSHOT = "before_snapshot"
AFTER_RESTORE = "after_restore"
PHASES = (BEFORE_SNAPSHOT, AFTER_RESTORE)
SHUTDOWN = "shutdown"
