"""`import snapext` with /opt/python on the path: hand over to the one copy, which lies in /opt/snapext/python.

This is all that the layer has in /opt/python, which it shares with other layers: nothing of ours can hide theirs there,
and nothing of theirs is found by our own processes. Files of an older snapext beside this one are not looked at.
"""

import sys
from importlib.machinery import PathFinder


def _hand_over() -> None:
    module, folder = sys.modules[__name__], __file__.rpartition("/python/")[0] + "/snapext/python"
    found = PathFinder.find_spec(__name__, [folder])
    if found is None or found.loader is None or found.submodule_search_locations is None:
        message = f"{folder}/snapext is missing, to which {__file__} belongs: the snapext layer is not whole"
        raise ImportError(message, name=__name__)
    # In this very module, and by its own spec: the import that runs us holds both.
    if module.__spec__ is not None:
        module.__spec__.loader, module.__spec__.origin, module.__spec__.cached = (
            found.loader,
            found.origin,
            found.cached,
        )
        module.__spec__.submodule_search_locations = found.submodule_search_locations
    module.__loader__, module.__file__ = found.loader, found.origin
    module.__path__ = found.submodule_search_locations
    module.__cached__ = found.cached  # type: ignore[attr-defined]
    found.loader.exec_module(module)


_hand_over()
