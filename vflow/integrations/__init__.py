"""vflow's models where other libraries expect theirs."""
