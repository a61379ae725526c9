"""Measures of binary masks."""

from __future__ import annotations

import cv2
import numpy as np


def iou(masks: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of all ``masks`` and their truths, bool (…) each; 1 if both are empty."""
    union = np.logical_or(masks, truth).sum()
    return float(np.logical_and(masks, truth).sum() / union) if union else 1.0


def count_components(mask: np.ndarray) -> int:
    """Number of connected parts (8 neighbours) of a mask, bool (H, W): noise has many."""
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1
