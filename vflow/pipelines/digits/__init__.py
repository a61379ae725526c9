"""TODO-docstring vflow/pipelines/digits."""
