"""Batches of inputs: the engine, its items, tasks, records and writers."""
