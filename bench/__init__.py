"""The benchmarks: `make bench` runs them and writes docs/benchmarks.md. They are not part of the package."""
