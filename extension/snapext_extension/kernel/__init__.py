"""What the kernel shows of the function's processes."""
