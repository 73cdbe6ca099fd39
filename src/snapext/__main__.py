"""`python -m snapext` is the `snapext` command."""

from snapext.cli import main

main()
