"""What is decided: events in, actions out. No I/O, no clock, no threads."""
