"""Speed and memory of vflow compared with other flow libraries: scripts/benchmark.py."""
