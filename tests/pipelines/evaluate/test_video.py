"""Every row of a video model's evaluation, against what is known or computed another way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

import vflow
from vflow.data import media
from vflow.data.datasets.shapes import BACKGROUND
from vflow.data.lossless import bits_after
from vflow.errors import ConfigError
from vflow.models import VideoModel
from vflow.pipelines.evaluate import shapes as shapes_module
from vflow.pipelines.evaluate import video as futures_module
from vflow.pipelines.evaluate.latents import video_latent_share
from vflow.pipelines.evaluate.report import Evaluation, Settings
from vflow.pipelines.evaluate.round_trip import round_trip
from vflow.pipelines.evaluate.shapes import direction_probe
from vflow.pipelines.evaluate.video import (
    checks,
    clip_batches,
    clip_bits,
    compared,
    evaluate_video,
    mosaic_ratio,
    tune_video,
)
from vflow.pipelines.video import score as score_module
from vflow.pipelines.video.score import density, frame_nats
from vflow.randomness import content_hash

from ..conftest import AUGMENTED, FRAMES, LATTICE, MOTION, make_model
from .support import moving_clip, quiet, write_clips

CONTEXT, SAMPLES = 2, 3


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return make_model(**FRAMES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("data") / "clips")


@pytest.fixture(scope="module")
def evaluation(model: VideoModel, root: Path) -> Evaluation:
    return evaluate_video(
        model, Settings(str(root), num_samples=SAMPLES, num_importance_samples=2, seed=3), quiet
    )


@pytest.fixture
def figures(evaluation: Evaluation) -> dict[str, Any]:
    return dict(evaluation.figures)


def _held() -> list[np.ndarray]:
    return [moving_clip(number) for number in (8, 9, 10)]


def test_bits_are_those_of_score(model: VideoModel, figures: dict[str, Any]) -> None:
    for draws, key in ((1, "bits_per_dim"), (2, "bits_per_dim_k2")):
        scores = [vflow.score(model, clip, context=CONTEXT, draws=draws, seed=3) for clip in _held()]
        assert figures[key] == pytest.approx(np.mean(scores), abs=1e-9)
    assert figures["bits_per_dim_k2"] < figures["bits_per_dim"]
    assert np.mean(figures["bits_per_dim_per_frame"]) == pytest.approx(figures["bits_per_dim"])
    assert figures["bits_per_dim_ordered"] == pytest.approx(figures["bits_per_dim"])


def test_clips_are_scored_once(
    model: VideoModel, figures: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []

    def counted(*arguments: Any) -> torch.Tensor:
        keys.append((arguments[2], arguments[3]))
        return density(*arguments)

    monkeypatch.setattr(score_module, "density", counted)
    found = clip_bits(model, _held(), CONTEXT, 3, 3, lambda done, total: None)
    assert len(keys) == len(set(keys)) == 3 * len(_held())
    assert found["bits_per_dim"] == figures["bits_per_dim"]


def test_futures_are_those_of_predict(model: VideoModel, figures: dict[str, Any]) -> None:
    best, mean, of_mean, apart = [], [], [], []
    for clip in _held():
        drawn = vflow.predict(model, clip[:CONTEXT], num_frames=4, num_samples=SAMPLES, seed=3)
        target = torch.from_numpy(clip[CONTEXT:]).double()

        def scores(x: np.ndarray, target: torch.Tensor = target) -> torch.Tensor:
            return peak_signal_noise_ratio(
                torch.from_numpy(x).double(), target, data_range=255.0, reduction="none", dim=(1, 2, 3)
            )

        psnr = torch.stack([scores(future) for future in drawn])
        best.append(psnr[psnr.mean(1).argmax()])
        mean.append(psnr.mean(0))
        of_mean.append(scores(drawn.mean(0)))
        pairs = [(0, 1), (0, 2), (1, 2)]
        x = drawn.astype(float)
        apart.append(np.mean([np.sqrt(((x[i] - x[j]) ** 2).mean()) for i, j in pairs]))
    for key, rows in (("psnr_best", best), ("psnr_mean", mean), ("psnr_of_mean", of_mean)):
        expected = torch.stack(rows).mean(0)
        assert np.allclose(figures[f"{key}_per_frame"], expected, atol=1e-4)
        assert figures[key] == pytest.approx(float(expected.mean()), abs=1e-4)
    assert figures["diversity"] == pytest.approx(np.mean(apart))


def test_ssim_chooses_its_own_best_once_per_clip() -> None:
    clip = moving_clip(0)[2:]
    futures = np.stack([clip, clip.copy(), clip.copy()])
    futures[1:] = np.clip(futures[1:].astype(int) + np.array([1, 40])[:, None, None, None, None], 0, 255)
    futures[0, 1] = 0  # nearest but for one frame
    scores = compared(futures, clip)
    pair = [torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).float() for x in (futures[1], clip)]
    expected = structural_similarity_index_measure(*pair, data_range=255.0, reduction="none")
    assert np.allclose(scores["ssim_best"], expected, atol=1e-5)
    assert scores["psnr_best"].max() < 60  # frame by frame, futures[0] would give 60 dB
    assert compared(clip[None], clip)["psnr_best"].tolist() == [60.0] * 4


def test_counts_times_and_round_trips(figures: dict[str, Any]) -> None:
    assert figures["sampled_values"] == 3 * SAMPLES * 4 * 16 * 16 * 3
    assert figures["nonfinite"] == figures["redrawn"] == 0
    assert figures["out_of_range_share"] == figures["out_of_range"] / figures["sampled_values"]
    assert figures["seconds_per_frame"] > 0
    assert 0 < figures["round_trip_data"] < 0.1
    assert 0 < figures["round_trip_latent"] < 0.1
    assert "direction_entropy" not in figures  # of shapes only


def test_latents_carry_all_of_a_future_where_there_is_no_other_noise(figures: dict[str, Any]) -> None:
    assert figures["latent_share"] == pytest.approx(1) and "reference_share" not in figures
    assert list(figures["latent_share_by_level"]) == ["8×8", "4×4"]
    assert sum(figures["latent_share_by_level"].values()) > 0.9


def test_latents_share_the_future_with_a_reference() -> None:
    shares = video_latent_share(make_model(**MOTION), [moving_clip(0)[:2]], 2, (1.0,) * 3)
    assert shares["reference_share"] > 0 and shares["latent_share"] > 0
    assert len(shares["latent_share_by_level"]) == 2


def test_augmented_dimensions_are_latents_of_the_flow() -> None:
    shares = video_latent_share(make_model(**AUGMENTED), [moving_clip(0)[:2]], 2, (1.0,) * 3)
    assert shares["latent_share"] == pytest.approx(1) and "reference_share" not in shares
    assert 0 < shares["glow_share"] < 1
    levels = shares["latent_share_by_level"]
    assert list(levels) == ["8×8", "4×4", "augmented"] and min(levels.values()) > 0


def test_lattices_share_the_future_by_their_stride() -> None:
    model = make_model(**LATTICE)
    sources = model.noise_sources()
    assert sources.names == ("stride 1", "stride 2", "stride 4", "stride 8")
    image = torch.randn(2, 3, 16, 16)
    joined = sources.join([image] * 4)
    assert [part.shape[1:] for part in joined] == [torch.Size(shape) for shape in model.latent_shapes]
    assert torch.equal(model.flow.join(joined), image), "each position takes its noise from one lattice"
    alone = model.flow.join(sources.join([torch.zeros_like(image)] * 3 + [image]))
    assert torch.equal(alone.nonzero()[:, 2:] % 8, torch.zeros(24, 2, dtype=torch.int64))
    shares = video_latent_share(model, [moving_clip(0)[:2]], 2, (1.0,) * 2)
    assert shares["latent_share"] == pytest.approx(1)


def test_mosaics_cost_what_their_frames_do_where_pixels_are_independent() -> None:
    model = make_model()
    clips = [moving_clip(number) for number in range(4)]
    ratio = mosaic_ratio(model, clips, 2, 0)
    frames = np.concatenate([np.concatenate(clips[row : row + 2], 2) for row in (0, 2)], 1)
    whole, *parts = (
        float(frame_nats(density(model, clip, range(2, 6), (0, content_hash(clip), 0))).sum())
        for clip in (frames, *clips)
    )
    assert ratio == pytest.approx(whole / sum(parts)) and ratio == pytest.approx(1, abs=0.2)


def test_baselines_and_codecs(figures: dict[str, Any]) -> None:
    for name in (
        "copy_last",
        "optical_flow",
        "training_mean",
        "regression",
        "neighbours_best",
        "neighbours_mean",
    ):
        assert len(figures[f"psnr_{name}_per_frame"]) == len(figures[f"ssim_{name}_per_frame"]) == 4
    errors = [(c[CONTEXT:].astype(float) - c[CONTEXT - 1]) ** 2 for c in _held()]
    copied = np.mean([10 * np.log10(255**2 / e.mean((1, 2, 3))) for e in errors], axis=0)
    assert np.allclose(figures["psnr_copy_last_per_frame"], copied)
    assert figures["psnr_neighbours_best"] > figures["psnr_neighbours_mean"]  # of as many as the model's
    expected = np.mean([bits_after(clip, CONTEXT, "x264") for clip in _held()])
    assert figures["bits_per_dim_x264"] == pytest.approx(expected)
    assert figures["bits_over_x264"] == pytest.approx(figures["bits_per_dim"] / expected)
    assert figures["bits_per_dim_ffv1"] > 0
    assert figures["bits_per_value_of_lossy_sources"] is None


def test_film_is_judged_at_the_fifth_frame(model: VideoModel, tmp_path: Path) -> None:
    """Two clips that move and one that stands still, which is left out."""
    clips = [moving_clip(number, frames=8) for number in (1, 2)]
    for name, clip in (("a", clips[0]), ("b", clips[1]), ("still", np.repeat(clips[0][:1], 8, 0))):
        media.write_npz(tmp_path / f"{name}.npz", frames=clip)
    settings = Settings(str(tmp_path), num_samples=2, num_importance_samples=1, num_frames=5)
    figures = evaluate_video(model, settings, quiet).figures
    assert figures["still_clips"] == 1
    errors = [((clip[CONTEXT + 4] - clip[CONTEXT - 1].astype(float)) ** 2).mean() for clip in clips]
    copied = np.mean([10 * np.log10(255**2 / error) for error in errors])
    assert figures["psnr_fifth_copy_last"] == pytest.approx(copied)
    assert figures["psnr_fifth_best"] < figures["psnr_fifth_copy_last"] and figures["gradient_energy_5"] > 0
    assert {"psnr_fifth_optical_flow", "blank_share", "frozen_share", "noise_share"} <= set(figures)
    assert "gradient_energy_10" not in figures, "there are five frames"


def test_noise_and_disorder_are_seen(figures: dict[str, Any]) -> None:
    assert figures["bits_per_dim_noise_frames"] > 8
    assert figures["bits_per_dim_shuffled"] != figures["bits_per_dim_ordered"]
    clip = moving_clip(0, frames=2)  # of two frames, the only other order
    model = make_model(**FRAMES)
    swapped = vflow.score(model, clip[::-1], context=1)
    assert checks(model, [clip], 1, 0)["bits_per_dim_shuffled"] == pytest.approx(float(swapped))


def test_sheets_show_what_came_above_a_future(evaluation: Evaluation) -> None:
    assert set(evaluation.sheets) == {"best", "worst", "random"}
    sheet = evaluation.sheets["best"]
    rows, columns = 2 * 3, 1 + 4
    assert sheet.shape == (rows * 98 - 2, columns * 98 - 2, 3)
    assert np.array_equal(sheet[:96:6, :96:6], _held()[0][CONTEXT - 1])
    assert np.array_equal(sheet[:96:6, 98:194:6], _held()[0][CONTEXT])
    assert np.array_equal(sheet[98:194:6, :96:6], _held()[0][CONTEXT - 1])


def test_protocol_and_json(evaluation: Evaluation, root: Path) -> None:
    protocol = evaluation.protocol
    assert (protocol["clips"], protocol["clips_available"], protocol["split"]) == (3, 3, "test")
    assert (protocol["context"], protocol["scored_frames"], protocol["num_frames"]) == (2, 4, 4)
    assert protocol["draws"] == [1, 2]
    assert protocol["baseline_clips"] == 7  # of 8 training clips, one is for validation
    data = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert data["protocol"]["data"] == str(root)
    assert len(data["psnr_best_per_frame"]) == 4


def test_shapes_also_have_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(futures_module, "BASELINE_CLIPS", 8)
    size = {"height": 64, "width": 64, "depth": [1, 1], "hidden": [4, 4]}
    model = make_model(**FRAMES, glow=size)
    settings = Settings("shapes", limit=1, num_samples=2, num_importance_samples=1, probe_clips=40)
    assert [Settings("shapes", limit=limit).probes for limit in (None, 0, 8)] == [4000, 4000, 0]
    figures = evaluate_video(model, settings, quiet).figures
    assert 0 <= figures["direction_entropy"] <= 1
    assert figures["accepted"] == figures["accepted_between"] == 0  # random weights
    assert 0 <= figures["direction_probe"] <= 1
    inside = float(figures["share_of_bits_in_shapes"])
    both = figures["bits_per_dim_shape"], figures["bits_per_dim_background"]
    assert 0 < inside < 1 and min(both) < figures["bits_per_dim"] < max(both)
    assert "bits_per_dim_k1" not in figures


def test_the_probe_takes_the_latents_of_lattices() -> None:
    """They come in float64."""
    model = make_model(**LATTICE | {"glow": LATTICE["glow"] | {"height": 64, "width": 64}})
    assert 0 <= direction_probe(model, 20, "validation", lambda done, total: None) <= 1


def test_the_probe_reads_directions_of_clips_it_has_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of latents that are the direction itself, all; of constant latents, only one."""
    glow = {"height": 64, "width": 64, "depth": [1, 1], "hidden": [4, 4]}
    model = make_model(**FRAMES, glow=glow)

    def place(blind: bool) -> Callable[[VideoModel, np.ndarray], torch.Tensor]:
        def encode(model: VideoModel, clips: np.ndarray) -> torch.Tensor:
            inside = (clips != BACKGROUND).any(-1) * 1.0
            rows, columns = (inside.sum(axis) @ np.arange(64) / inside.sum((2, 3)) for axis in (3, 2))
            steps = np.stack([rows[:, 1] - rows[:, 0], columns[:, 1] - columns[:, 0]], 1)
            return torch.from_numpy(steps * (0 if blind else 1)).float()

        return encode

    told: list[int] = []
    for blind, low, high in ((False, 0.9, 1.0), (True, 0.0, 0.35)):
        monkeypatch.setattr(shapes_module, "_first_noise", place(blind))
        share = direction_probe(model, 400, "validation", lambda done, total: told.append(done))
        assert low <= share <= high
    assert max(told) == 480


def test_without_training_data_the_last_frame_is_the_baseline(model: VideoModel, root: Path) -> None:
    settings = Settings(str(root / "train"), limit=1, num_samples=1, num_frames=1, num_importance_samples=1)
    evaluation = evaluate_video(model, settings, quiet)
    assert "psnr_copy_last" in evaluation.figures
    assert "psnr_training_mean" not in evaluation.figures
    assert evaluation.protocol["baseline_clips"] == 0
    assert np.isnan(evaluation.figures["diversity"])


def test_temperature_is_tuned_on_validation_clips_alone(
    model: VideoModel, root: Path, tmp_path: Path
) -> None:
    settings = Settings(str(root), num_samples=2, num_frames=1)
    found = tune_video(model, settings, quiet)
    assert list(found) == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert all(np.isfinite(score) for score in found.values())
    other = write_clips(tmp_path / "other", test=1)
    for path in (other / "test").iterdir():
        path.write_bytes((root / "train" / "00.npz").read_bytes())
    assert tune_video(model, Settings(str(other), num_samples=2, num_frames=1), quiet) == found
    with pytest.raises(ConfigError, match="name their folder with --train"):
        tune_video(model, Settings(str(root / "train"), num_samples=2), quiet)


@pytest.mark.parametrize("form", [{}, {"pixel_map": "marginal", "noise": "gaussian"}])
def test_models_of_past_latents_have_round_trips_too(form: dict[str, str]) -> None:
    model = make_model(**form)
    trips = round_trip(model, clip_batches(model, _held()))
    assert 0 < trips["round_trip_latent"] < 0.1 and trips["round_trip_data"] < 0.1


def test_a_round_trip_that_gives_nan_is_nan(model: VideoModel, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, calls = model.flow.encode, iter(range(100))

    def wrong(x: torch.Tensor, context: Any = None) -> Any:
        found = encode(x, context)
        return found._replace(latents=[z * np.nan for z in found.latents]) if next(calls) % 2 else found

    monkeypatch.setattr(model.flow, "encode", wrong)
    trips = round_trip(model, clip_batches(model, _held()))
    assert np.isnan(trips["round_trip_latent"]) and not np.isnan(trips["round_trip_data"])
