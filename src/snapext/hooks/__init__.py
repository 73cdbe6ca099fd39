"""The hooks of this process: where they are kept, and how one phase of them runs. Knows nothing of the extension."""
