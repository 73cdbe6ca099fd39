"""This process as a part of the boundary: its connection to the extension, and what it is told there."""
