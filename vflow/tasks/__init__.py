"""Declarations of the tasks that come with vflow, one a module; they name their parts and import none."""
