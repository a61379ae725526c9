"""TODO-docstring vflow/pipelines/walk."""
