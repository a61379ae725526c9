"""Evaluation of models of whole numbers on digits: integer flows, PixelCNN, row LSTM."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from vflow.data.datasets.digits import DIGIT, MnistImages
from vflow.models import ImageBatch, IntegerFlow, PixelCNN
from vflow.pipelines.common import device_of, evenly_spaced
from vflow.pipelines.evaluate.data import check_digits, digits_root
from vflow.pipelines.evaluate.report import Evaluation, Settings, Stage
from vflow.pipelines.walk import render as views

USUAL_DIGITS, NUM_SAMPLES = 1000, 10
COLUMNS = 10  # of samples where there are no classes
CHUNK = 50


@torch.no_grad()
def evaluate_discrete(model: IntegerFlow | PixelCNN, settings: Settings, stage: Stage) -> Evaluation:
    """bits/dim of digits, exact and not a bound, and samples a second of processor time.

    Raises:
        CheckpointError: the model is of other pictures or classes. InputError: MNIST is not there.
    """
    check_digits(model.config)
    held = MnistImages(split=settings.split, root=digits_root(settings))
    chosen = evenly_spaced(len(held), settings.count(len(held), USUAL_DIGITS))
    images, labels = torch.from_numpy(held.images[chosen])[:, None], torch.from_numpy(held.labels[chosen])
    device, parts, progress = device_of(model), list[torch.Tensor](), stage("bits/dim")
    for some, given in zip(images.split(CHUNK), labels.split(CHUNK), strict=True):
        batch = ImageBatch(some.to(device), given.to(device), torch.zeros(len(some), 0, device=device))
        parts.append(model.bits_per_dim(model(batch)).double().cpu())
        progress(sum(map(len, parts)), len(images))
    columns, count = model.config.classes or COLUMNS, settings.num_samples or NUM_SAMPLES
    asked = torch.arange(columns, device=device).repeat_interleave(count) if model.config.classes else None
    stage("digits")
    began = time.process_time()
    made = model.generate(columns * count, asked, torch.Generator().manual_seed(settings.seed))
    spent = time.process_time() - began
    figures: dict[str, Any] = {
        "bits_per_dim": float(torch.cat(parts).mean()),
        "seconds_per_digit": spent / len(made),
        "digits_per_s": len(made) / spent,
    }
    protocol = {
        "data": "mnist", "split": settings.split, "digits": len(images), "digits_available": len(held),
        "num_samples": count, "seconds_per_digit": "of processor time",
        "bits_per_dim": "exact, given the class" if model.config.classes else "exact",
    }  # fmt: skip
    sheet = views.grid(np.asarray(made.permute(0, 2, 3, 1).cpu()).reshape(columns, count, DIGIT, DIGIT, 1))
    return Evaluation(figures, protocol, {"random": sheet})
