"""The extension process that Lambda starts. Standard library only: every cold start pays for what it imports."""
