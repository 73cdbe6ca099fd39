"""What turns the client and the extension into a Lambda layer, or an overlay for a container image."""
