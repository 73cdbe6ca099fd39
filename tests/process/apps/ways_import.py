"""The app of ways.py, served from within the import of this module: `python -c 'import ways_import'`."""

import ways

ways.serve()
