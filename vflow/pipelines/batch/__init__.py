"""TODO-docstring vflow/pipelines/batch."""
