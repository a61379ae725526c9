"""Errors that people meet: one line, naming the file and the remedy."""

from __future__ import annotations


class VflowError(Exception):
    """Base of every expected failure; ``exit_code`` is what the command line returns."""

    exit_code = 1


class InputError(VflowError):
    """A given file, folder or array cannot be used."""


class ConfigError(VflowError):
    """A setting is unknown, contradictory or out of range."""

    exit_code = 2


class CheckpointError(VflowError):
    """A checkpoint is missing, damaged, or does not belong to this model."""

    exit_code = 3
