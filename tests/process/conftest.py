"""What every test here may ask for by name; what they import is in lives.py."""

from lives import simulate

__all__ = ["simulate"]
