"""What every test here may ask for by name; what they import is in lives.py and clients.py."""

from clients import listener, path, start
from lives import simulate

__all__ = ["listener", "path", "simulate", "start"]
