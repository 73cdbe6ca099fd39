"""What the `snapext` of the layer runs inside a function: the standard library alone, and little of it."""
