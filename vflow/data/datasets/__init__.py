"""TODO-docstring vflow/data/datasets."""
