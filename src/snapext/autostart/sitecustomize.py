"""The channel by PYTHONPATH: Python imports `sitecustomize` in every process at start. See _snapext_autostart.py.

A `sitecustomize` of the user's own, or of another layer, which this one hides, is run all the same.
"""

import os

import _snapext_autostart  # type: ignore[import-not-found]  # beside this file, which is on the path

_snapext_autostart.run_hidden_sitecustomize(os.path.dirname(os.path.abspath(__file__)))
