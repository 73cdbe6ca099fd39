"""The two phases in which hooks run, by the names that they have on the wire, in the log and in settings."""

BEFORE_SNAPSHOT = "before_snapshot"
AFTER_RESTORE = "after_restore"
PHASES = (BEFORE_SNAPSHOT, AFTER_RESTORE)
