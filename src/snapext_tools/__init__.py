"""What runs on a developer's machine: the command line, the local Lambda, doctor. Never in the layer."""
