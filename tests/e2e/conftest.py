"""What every test here may ask for by name; what they import is in installed.py."""

from installed import function

__all__ = ["function"]
