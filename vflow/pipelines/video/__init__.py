"""TODO-docstring vflow/pipelines/video."""
