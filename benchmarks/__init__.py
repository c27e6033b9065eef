"""Measurements of speed and memory; each prints a markdown table: `python -m benchmarks.NAME --help`."""
