"""One file per command of the command line: its flags as a dataclass, and ``run``, which calls one pipeline.

Modules here import torch and other slow things inside ``run`` only, so that ``--help`` is quick.
"""
