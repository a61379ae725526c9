"""Whole runs of image models: digits by class, colours by lightness, photos by small ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import vflow
from tests.data.sample_media import write_mnist
from tests.training.support import lines, losses, run_here
from vflow.config import load_preset
from vflow.data.datasets.photos import Photos
from vflow.errors import CheckpointError, ConfigError
from vflow.nn.backbone import Backbone
from vflow.training.dry_run import dry_run
from vflow.training.images import Images
from vflow.training.schedule import make_optimizer
from vflow.training.setup import open_data
from vflow.training.step import TrainState

DIGITS = """
model:
  kind: digits
  glow: {channels: 1, height: 28, width: 28, depth: [1, 1], hidden: [4, 4]}
  condition: [2, 2]
data: {name: digits, shift: 1}
"""
TARFLOW = """
model:
  kind: tarflow
  glow: {patch: 7, blocks: [{layers: 1, hidden: 8, head: 4, element: spline}, {layers: 1, hidden: 8}]}
  condition: 2
  label_dropout: 0.2
data: {name: digits, shift: 1}
"""
COLORIZER = """
model:
  kind: colorizer
  glow: {channels: 2, height: 8, width: 8, depth: [1, 1], hidden: [4, 4]}
  condition: {hidden: [4, 4, 4], blocks: 1}
  dropout: 0.5
data: {name: photos}
"""
ENLARGER = """
model:
  kind: super_resolution
  glow: {height: 8, width: 8, depth: [1], hidden: [4]}
  condition: {hidden: [4], blocks: 1}
  features: 4
data: {name: photos}
"""
TRAINING = """
training:
  batch_size: 4
  max_steps: 4
  warmup_steps: 2
  actnorm_batch: 8
  log_every: 1
  validate_every: 2
  validation_examples: 5
  checkpoint_every: 2
  weight_decay: 0.01
"""


def digits(folder: Path) -> dict[str, str]:
    """Preset and data of a tiny run."""
    (folder / "digits.yaml").write_text(DIGITS + TRAINING)
    return {"config": str(folder / "digits.yaml"), "data": str(write_mnist(folder / "data"))}


def tarflow(folder: Path) -> dict[str, str]:
    """Preset and data of a tiny run."""
    (folder / "tarflow.yaml").write_text(TARFLOW + TRAINING)
    return {"config": str(folder / "tarflow.yaml"), "data": str(write_mnist(folder / "data"))}


def colorizer(folder: Path) -> dict[str, str]:
    """Preset and data of a tiny run."""
    (folder / "colorizer.yaml").write_text(COLORIZER + TRAINING)
    (folder / "photos").mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (5, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((30, 25)).save(folder / "photos" / f"{number}.png")
    return {"config": str(folder / "colorizer.yaml"), "data": str(folder / "photos")}


def enlarger(folder: Path) -> dict[str, str]:
    """Preset and data of a tiny run of super-resolution."""
    (folder / "enlarger.yaml").write_text(ENLARGER + TRAINING)
    (folder / "photos").mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 10, 3), np.uint8)
        Image.fromarray(pixels).resize((30, 25)).save(folder / "photos" / f"{number}.png")
    return {"config": str(folder / "enlarger.yaml"), "data": str(folder / "photos")}


Start = Callable[[Path], dict[str, str]]
every = pytest.mark.parametrize("start", [digits, tarflow, colorizer, enlarger])


def material(given: dict[str, str], **overrides: Any) -> Images:
    opened = open_data(load_preset(given["config"], {"data.path": given.get("data"), **overrides}))
    assert isinstance(opened, Images)
    return opened


@every
def test_a_run_leaves_log_samples_and_a_model_that_loads(start: Start, runs: Path) -> None:
    given = start(runs)
    missing: list[str] = []
    original = TrainState._agree

    def watch(self: TrainState, loss: float, stop: bool) -> Any:
        missing.extend(name for name, p in self.plain.named_parameters() if p.grad is None)
        return original(self, loss, stop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainState, "_agree", watch)
        assert run_here(output=runs / "a", **given) == 0
    assert not missing, "distributed training waits for gradients that never come"
    log = lines(runs / "a")
    validation = [line for line in log if "val_bits_per_dim" in line]
    assert [line["step"] for line in validation] == [2, 4] and log[-1]["status"] == "finished"
    assert all(line["round_trip"] < 0.1 and line["sample_nonfinite"] == 0 for line in validation)
    assert all(line["frames_per_s"] > 0 for line in log if "bits_per_dim" in line)
    assert vflow.load(runs / "a").config.validation_bits is not None
    names = [path.name for path in sorted((runs / "a" / "samples").iterdir())]
    assert names == ["step_0000002.png", "step_0000004.png"]


@every
def test_resuming_in_pieces_equals_one_run(start: Start, runs: Path) -> None:
    given = start(runs)
    run_here(output=runs / "whole", **given)
    run_here(output=runs / "parts", max_steps=2, set=("training.min_lr_ratio=1",), **given)
    run_here(output=runs / "reference", set=("training.min_lr_ratio=1",), **given)
    run_here(output=runs / "parts", resume=True, set=("training.min_lr_ratio=1",), **given)
    assert losses(runs / "parts") == losses(runs / "reference")
    finals = [vflow.load(runs / name).state_dict() for name in ("reference", "parts")]
    assert all(torch.equal(finals[0][key], finals[1][key]) for key in finals[0])
    other = vflow.load(runs / "whole").state_dict()
    assert any(not torch.equal(finals[0][key], other[key]) for key in other)


def test_a_held_out_picture_that_is_damaged_ends_no_run(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = colorizer(runs)
    held = material(given).held
    assert isinstance(held, Photos) and len(held) == 1
    file = runs / "photos" / held.names[0]
    file.write_bytes(file.read_bytes()[:60])
    assert run_here(output=runs / "a", max_steps=2, **given) == 0
    assert material(given).held_out == 0 and "goes on without validation" in caplog.text


def test_a_backbone_stays_as_it_is_unless_it_is_named(runs: Path) -> None:
    given = colorizer(runs)
    changed = []
    for name, settings in (("a", ()), ("b", ()), ("c", ("training.trainable=[backbone.stages.4, priors]",))):
        start = {} if name == "a" else {"init_from": str(runs / "a")}
        settings = ("model.backbone=true", "model.dropout=0", *settings)
        assert run_here(output=runs / name, max_steps=2, set=settings, **start, **given) == 0
        before, after = (vflow.load(runs / run).state_dict() for run in ("a", name))
        changed.append({key for key, value in before.items() if not torch.equal(value, after[key])})
    assert changed[1] and not any(key.startswith("backbone.") for key in changed[1])
    assert {key.partition(".")[0] for key in changed[1]} >= {"adapters", "encoder", "window_encoder"}
    assert {".".join(key.split(".")[:3]) for key in changed[2] if key[0] == "b"} == {"backbone.stages.4"}


def test_a_backbone_sees_each_picture_once(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a loss beside the likelihood, or in its place, uses the features."""
    monkeypatch.setenv("VFLOW_CACHE", str(runs / "cache"))
    given = colorizer(runs)
    seen: list[int] = []
    original = Backbone.forward

    def watch(self: Backbone, lightness: Tensor, **options: bool) -> tuple[Tensor, ...]:
        if self.training:
            seen.append(len(lightness))
        return original(self, lightness, **options)

    monkeypatch.setattr(Backbone, "forward", watch)
    settings = (
        "model.backbone=true",
        "model.color_mean=[4]",
        "data.crop=false",
        "training.cache_features=true",
    )
    for name, loss in (("a", "{kind: color_mean, pretrain_only: true}"), ("b", "{kind: color_mean}")):
        start = {} if name == "a" else {"init_from": str(runs / "a")}
        losses = f"training.losses=[{loss}]"
        assert run_here(output=runs / name, max_steps=8, set=(*settings, losses), **start, **given) == 0
    start_of_actnorm = 8 * 2
    assert 0 < sum(seen) <= len(material(given).train) + start_of_actnorm


def test_validation_of_a_mean_trained_first_is_in_bits(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("model.color_mean=[4]", "training.losses=[{kind: color_mean, pretrain_only: true}]")
    assert run_here(output=runs / "a", max_steps=1, set=settings, **colorizer(runs)) == 0
    (bits,) = (line["val_bits_per_dim"] for line in lines(runs / "a") if "val_bits_per_dim" in line)
    printed = capsys.readouterr().err
    assert f"step 1: validation {bits:.4f} bits/dim\n" in printed and "color_mean" in printed


def test_a_dry_run_starts_from_the_checkpoint_and_keeps_no_features(
    runs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VFLOW_CACHE", str(runs / "cache"))
    given, settings = colorizer(runs), ("model.backbone=true", "data.crop=false")
    torch.manual_seed(0)
    file = runs / "backbone.safetensors"
    save_file(Backbone().state_dict(), file)
    named = (*settings, f"training.backbone_weights={file}")
    assert run_here(output=runs / "a", max_steps=1, set=named, **given) == 0
    cached = (*settings, "training.cache_features=true")
    for start in (str(runs / "a"), None):
        assert run_here(output=runs / "b", dry_run=True, set=cached, init_from=start, **given) == 0
        assert ("its weights are random" in caplog.text) == (start is None)
    caplog.clear()
    preset = load_preset(given["config"], {"data.path": given["data"], "model.backbone": True})
    assert dry_run(preset, Accelerator(cpu=True), follows=True) == 0
    assert not caplog.text and not (runs / "b").exists() and not (runs / "cache").exists()


def test_a_backbone_comes_from_a_checkpoint_or_a_file(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = colorizer(runs)
    file, settings = runs / "backbone.safetensors", ("model.backbone=true",)
    weights = Backbone().state_dict()
    save_file({name: torch.full_like(value, 0.01) for name, value in weights.items()}, file)
    named = (*settings, f"training.backbone_weights={file}")
    assert run_here(output=runs / "a", max_steps=1, set=named, **given) == 0
    assert run_here(output=runs / "b", max_steps=1, set=settings, init_from=str(runs / "a"), **given) == 0
    for run in ("a", "b"):
        values = {k: v for k, v in vflow.load(runs / run).state_dict().items() if k.startswith("backbone.")}
        assert len(values) == len(weights) and all((value == 0.01).all() for value in values.values())
    assert "random" not in caplog.text
    assert run_here(output=runs / "c", max_steps=1, set=settings, **given) == 0
    assert "model.backbone: its weights are random; start from a checkpoint" in caplog.text
    file.write_bytes(file.read_bytes()[:1000])
    for path in (file, runs / "nothing.safetensors"):
        with pytest.raises(
            CheckpointError, match=r"make them by python scripts/convert_backbone\.py --output"
        ):
            run_here(output=runs / "d", set=(*settings, f"training.backbone_weights={path}"), **given)
    with pytest.raises(ConfigError, match=r"training\.backbone_weights needs a colorizer with backbone"):
        run_here(output=runs / "d", set=(f"training.backbone_weights={file}",), **given)


def test_digits_need_a_class_for_each_label(runs: Path) -> None:
    given = digits(runs)
    with pytest.raises(ConfigError, match=r"^data digits: labels are 0\.\.9; set model\.classes to 10$"):
        run_here(output=runs / "a", set=("model.classes=9",), **given)


@pytest.mark.parametrize("start", [colorizer, enlarger])
def test_pictures_are_square(start: Start, runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"images are square, not 16×8; set model\.glow\.width to 8$"):
        run_here(output=runs / "a", set=("model.glow.width=16",), **start(runs))


def test_digits_are_drawn_with_a_column_per_class(runs: Path) -> None:
    given = digits(runs)
    run_here(output=runs / "a", max_steps=1, **given)
    grid = np.asarray(Image.open(runs / "a" / "samples" / "step_0000001.png").convert("RGB"))
    assert grid.shape == (6 * 30 - 2, 10 * 30 - 2, 3)
    assert (grid[:28, :28] != grid[30:58, :28]).any(), "rows have their own noise"


def test_photos_are_drawn_beside_lightness_and_truth(runs: Path) -> None:
    given = colorizer(runs)
    run_here(output=runs / "a", max_steps=1, **given)
    grid = np.asarray(Image.open(runs / "a" / "samples" / "step_0000001.png")).astype(int)
    rows = material(given).held_out
    assert grid.shape == (rows * 18 - 2, 8 * 18 - 2, 3)
    grey, truth, first, second = (grid[:16, 18 * i : 18 * i + 16] for i in range(4))
    assert np.ptp(grey, axis=-1).max() <= 1 and np.ptp(truth, axis=-1).max() > 20
    assert (first != second).any()
    picture = material(given).held.example(0, (0, 0)).condition[0]
    assert np.corrcoef(grey[..., 0].ravel(), picture.ravel())[0, 1] > 0.99


@every
def test_a_batch_is_a_function_of_seed_and_position(start: Start, runs: Path) -> None:
    given = start(runs)
    first, again, other = material(given), material(given), material(given, **{"training.seed": 1})
    size = first.length + 3
    batch = first.batch(2, size)
    assert batch.sample_eps is None, "these presets ask for none"
    assert all(torch.equal(a, b) for a, b in zip(batch[:3], again.batch(2, size)[:3], strict=True))
    assert not torch.equal(batch.eps, other.batch(2, size).eps)
    parts = [again.batch(2 + i, 1)[:3] for i in range(size)]
    for whole, joined in zip(batch[:3], map(torch.cat, zip(*parts, strict=True)), strict=True):
        assert torch.equal(whole, joined)
    assert batch.images.dtype == torch.uint8 and batch.eps.shape == batch.images.shape
    assert torch.equal(first.validation([0]).eps, again.probe(1).eps)


@every
def test_dry_run_and_fine_tuning(start: Start, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = start(runs)
    assert run_here(output=runs / "a", dry_run=True, **given) == 0
    assert "4 images" in capsys.readouterr().out and not (runs / "a").exists()
    run_here(output=runs / "a", max_steps=1, **given)
    run_here(output=runs / "b", max_steps=1, init_from=str(runs / "a"), **given)
    assert "tensors taken" in capsys.readouterr().err


def test_the_card_counts_the_photos_that_are_trained_on(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = colorizer(runs)
    data = material(given)
    for name in data.train.names[:4]:  # type: ignore[attr-defined]
        Image.new("RGB", (30, 25), (90, 90, 90)).save(runs / "photos" / name)
    caplog.clear()
    run_here(output=runs / "a", max_steps=1, **given)
    count = data.length
    assert caplog.messages == [f"{runs / 'photos'}: 4 of {count} training photos left out: near-grey"]
    card = (runs / "a" / "step_0000001" / "model" / "README.md").read_text()
    assert f"{count - 4} training examples" in card


def test_data_may_be_a_zip_for_photos_only(runs: Path) -> None:
    packed = runs / "photos.zip"
    packed.write_bytes(b"PK")
    given = digits(runs)
    with pytest.raises(ConfigError, match=r"photos.zip: no such folder; give a folder"):
        run_here(given["config"], runs / "a", data=str(packed))
    with pytest.raises(vflow.errors.InputError, match=r"photos.zip: not a folder or zip of photos"):
        run_here(colorizer(runs)["config"], runs / "a", data=str(packed))


def test_weight_decay_shrinks_weights_that_have_no_gradient() -> None:
    weight = torch.nn.Linear(2, 2)
    before = weight.weight.detach().clone()
    config = load_preset("digits", {"training.weight_decay": 0.5, "training.learning_rate": 0.1}).training
    optimizer = make_optimizer(weight, config)
    for parameter in weight.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(weight.weight.detach(), 0.95 * before)
