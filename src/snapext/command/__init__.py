"""The commands that the layer's `snapext` runs inside a function: they import little of the standard library only."""
