"""Published benchmarks, a file each; read by ``vflow benchmark`` alone."""
