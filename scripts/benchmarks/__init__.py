"""Speed and memory of vflow beside other flow libraries: scripts/benchmark.py."""
