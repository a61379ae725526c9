"""Drawing pad: pad.js gives it pointer and keys, and sends the ink a moment after each stroke."""

from __future__ import annotations

import base64
import binascii
from html import escape

import numpy as np

from vflow.errors import InputError

SIDE = 112  # of the ink that the pad sends


def drawing_pad(identifier: str, label: str, hint: str) -> str:
    """The pad; ``label`` names it to screen readers, ``hint`` shows while it is empty."""
    return (
        '<div class="vf-pad"><div class="vf-paper">'
        f'<canvas width="{2 * SIDE}" height="{2 * SIDE}" tabindex="0" role="application"'
        f' aria-label="{escape(label, quote=True)}" aria-describedby="{identifier}-help"></canvas>'
        '<span class="vf-pen" aria-hidden="true"></span>'
        f'<span class="vf-pad-hint" aria-hidden="true">{escape(hint)}</span></div>'
        f'<p class="vf-pad-help" id="{identifier}-help">'
        "Or use the keyboard: arrow keys move the pen, Space lowers or lifts it.</p>"
        '<button type="button" class="vf-clear">Clear</button></div>'
    )


def read_ink(ink: str) -> np.ndarray:
    """Ink that a pad sent, one byte per pixel in base64: uint8 (112, 112).

    Raises:
        InputError: it did not arrive whole.
    """
    try:
        return np.frombuffer(base64.b64decode(ink, validate=True), np.uint8).reshape(SIDE, SIDE)
    except (binascii.Error, ValueError) as error:
        raise InputError("the drawing was not received completely; draw it again") from error
