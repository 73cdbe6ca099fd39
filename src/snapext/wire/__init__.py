"""The wire between a process of the app and the extension, for both sides: the messages, and where their socket is.

Nothing else defines the protocol. docs/protocol.md describes it for other languages. This file imports nothing: each
command inside a function, and `import snapext` itself, pays for what it needs alone.
"""

VERSION = "0.2.0"
"""Of the distribution and the layer, and what each side says it is: in this place alone, where hatchling reads it."""
