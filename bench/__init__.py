"""The benchmarks: `make bench` runs them and writes docs/benchmarks.md. Not part of what is installed."""
