"""Write docs/RESULTS.md: for each task one table of docs/acceptance.json and docs/results/*.json.

The latter are evaluations (``vflow evaluate … --json``) or comparisons of models (``rows`` of named figures).
docs/results/densities.json comes from scripts/benchmarks/densities.py and examples; its tables go into
docs/FLOWS.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.acceptance.registry import FIGURES, MEASURES, Measure
from scripts.acceptance.report import ROOT, read_store, row
from scripts.density_tables import density_tables, filled
from vflow.benchmarks.base import table
from vflow.benchmarks.registry import MODULES, benchmark

FOLDER, PAGE = ROOT / "docs" / "results", ROOT / "docs" / "RESULTS.md"
DENSITIES, FLOWS = "densities", ROOT / "docs" / "FLOWS.md"
BENCHMARKS, BENCHMARK = ROOT / "docs" / "BENCHMARKS.md", "benchmark-"
BENCHMARKS_HEADER = """# Published benchmarks

Written by `python scripts/results.py` from docs/results/benchmark-NAME.json. `vflow benchmark NAME` measures
a table again; its files are checked by SHA-256 and are not part of this repository.
"""
HEADER = """# Results

Written by `python scripts/results.py` from docs/acceptance.json and docs/results/*.json: one table a task.
A row with a name such as A.shapes_bits is a promised figure: `make accept ONLY=A.shapes_bits` measures it
again and replaces its rows, `python scripts/accept.py --list` prints how each is measured, and
docs/acceptance.json has the machine and the time it took. A row with the name of a checkpoint comes from
the `vflow evaluate` below its table. Data given by name are in the folder `VFLOW_DATA`. bits/dim is an
upper bound on the code length.

All figures are on held-out data that was never used for training. Not every choice was made on validation
data alone: steps and losses of `digits` were chosen on test digits (29, 40, 52 and 53 of the
[archive](archive/experiments.md)), the tail of `push`'s pixel map on test clips, a colouriser was kept or
dropped by its figure on test photos, and a dozen experiments report test figures for intermediate versions,
so small gains may be optimistic. From now on, only the command for the final table reads test data.
"""
TABLE = ("| figure | measured | promised | | measured by |", "|---|---|---|---|---|")
# Task → beginnings of its measures' keys, and files of docs/results.
TASKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Futures of video": (
        (
            "F.shapes", "F.push", "F.all_samples", "A.shapes", "A.videoflow", "A.push", "I.grasp", "H.shapes",
            "H.videoflow", "H.push", "H.moving",
        ),
        ("push", "shapes-guided"),
    ),
    "Surprise": (("F.surprise",), ()),
    "Rain": (("I.rain",), ("rain",)),
    "Colours": (("F.colorizer", "B.colour", "K.", "U."), ("colorizer",)),
    "Digits": (
        ("F.digits", "B.digits", "M.digits", "N.knowledge"),
        ("digits", "digit-models", "knowledge"),
    ),
    "Walks": (("B.walk",), ()),
    "Enlarging": (("N.enlarged", "N.conditioned"), ("enlarge", "condition")),
    "Lossless files": (("M.files", "M.photo", "M.codec", "M.flow"), ()),
    "Vectors, masks and integers": (
        ("L.", "N.arm"),
        ("arm", "masks", "skimage-masks", "potts", "xor", "addition"),
    ),
    "Recipes from scratch": (("H.recipe",), ()),
    "The app": (("A.app", "J."), ()),
    "Speed and memory": (("D.",), ()),
}  # fmt: skip
Data = Mapping[str, Any]
# Figure → its label and unit, in the order of the tables.
ROWS = {
    "bits_per_dim": ("bits/dim, K = 1", ""),
    "bits_per_dim_k16": ("bits/dim, K = 16", ""),
    "bits_per_dim_unconditional": ("bits/dim without the class, K = 1", ""),
    "bits_per_dim_x264": ("the same frames in lossless x264 (veryslow)", "bits/dim"),
    "bits_per_dim_ffv1": ("the same frames in FFV1", "bits/dim"),
    "bits_over_x264": ("bits/dim relative to x264", ""),
    "bits_per_value_of_lossy_sources": ("the lossy source files themselves", "bits/value"),
    "bits_per_dim_ordered": ("some clips, frames in order", "bits/dim"),
    "bits_per_dim_shuffled": ("the same clips, frames shuffled", "bits/dim"),
    "bits_per_dim_noise_frames": ("frames of uniform noise", "bits/dim"),
    "psnr_best": ("PSNR, best sample", "dB"),
    "psnr_mean": ("PSNR, one sample on average", "dB"),
    "psnr_of_mean": ("PSNR of the mean of the samples", "dB"),
    "psnr_neighbours_best": ("PSNR, best of as many continuations of the nearest training frames", "dB"),
    "psnr_copy_last": ("PSNR, copying the last frame", "dB"),
    "psnr_optical_flow": ("PSNR, the last motion going on (DIS optical flow)", "dB"),
    "psnr_training_mean": ("PSNR, mean of the training frames", "dB"),
    "psnr_regression": ("PSNR, per-pixel regression on the last frame", "dB"),
    "still_clips": ("clips too still for the figures at the fifth frame", ""),
    "psnr_fifth_best": ("PSNR at the fifth frame, best sample", "dB"),
    "psnr_fifth_mean": ("PSNR at the fifth frame, one sample on average", "dB"),
    "psnr_fifth_of_mean": ("PSNR at the fifth frame, mean of the samples", "dB"),
    "psnr_fifth_copy_last": ("PSNR at the fifth frame, copying the last given frame", "dB"),
    "psnr_fifth_optical_flow": ("PSNR at the fifth frame, the last motion going on (DIS optical flow)", "dB"),
    "gradient_energy_5": ("gradient energy where the truth has moved, relative to its own, fifth frame", ""),
    "gradient_energy_10": ("the same at the tenth frame", ""),
    "blank_share": ("blank frames", "share"),
    "frozen_share": ("frames that stand still where the truth moves", "share"),
    "noise_share": ("frames of noise", "share"),
    "ssim_best": ("SSIM, best sample", ""),
    "ssim_mean": ("SSIM, one sample on average", ""),
    "ssim_of_mean": ("SSIM of the mean of the samples", ""),
    "ssim_neighbours_best": ("SSIM, best of as many continuations of the nearest training frames", ""),
    "ssim_copy_last": ("SSIM, copying the last frame", ""),
    "ssim_optical_flow": ("SSIM, the last motion going on (DIS optical flow)", ""),
    "ssim_training_mean": ("SSIM, mean of the training frames", ""),
    "ssim_regression": ("SSIM, per-pixel regression on the last frame", ""),
    "diversity": ("mean distance between two samples (RMS)", "grey levels"),
    "direction_entropy": ("entropy of the direction", "bits"),
    "accepted": ("futures accepted by an independent tracker", "share"),
    "accepted_between": ("the same for futures interpolated between two others", "share"),
    "direction_probe": (
        "accuracy of a small probe that reads the direction from the first frame's latents",
        "share",
    ),
    "mosaic_bits_ratio": (
        "bits/dim of four clips tiled into one of twice the side, relative to the four alone",
        "",
    ),
    "latent_share": ("variance of futures due to the flow's latents", "share"),
    "glow_share": ("variance of futures due to the Glow's levels without the augmented dimensions", "share"),
    "reference_share": ("variance of futures due to the reference's displacement", "share"),
    "bits_per_dim_shape": ("bits/dim of the shapes' pixels", ""),
    "bits_per_dim_background": ("bits/dim of the background", ""),
    "bayes_accuracy": ("accuracy of classification by Bayes' rule", "share"),
    "agreement": ("samples that the classifier assigns to the requested class", "share"),
    "classifier_accuracy": ("accuracy of the classifier on real digits", "share"),
    "spread_pixels": ("spread within a class relative to real digits, in pixels", ""),
    "spread_features": ("the same, in the classifier's features", ""),
    "frechet_on_classifier_features": ("Fréchet distance on the classifier's features", ""),
    "rmse_best": ("RMSE of a and b, best sample of each photo", "ab units"),
    "rmse_best_independent": ("the same for independent draws", "ab units"),
    "rmse_first": ("RMSE, the first sample of each photo", "ab units"),
    "rmse_grey": ("RMSE, grey", "ab units"),
    "rmse_mean_tint": ("RMSE, mean tint of the training photos", "ab units"),
    "rmse_tints": ("RMSE, best of eight k-means tints", "ab units"),
    "rmse_best_per_pixel": ("RMSE, best sample of each pixel", "ab units"),
    "rmse_noise_per_pixel": ("RMSE, best of as many samples of white noise at each pixel", "ab units"),
    "spread_within_ratio": ("spread within a colouring relative to the real photo", ""),
    "spread_over_variants": ("spread across variants", "ab units"),
    "variance_beside_mean_color": ("share of that variance that is not in the mean colour", ""),
    "colorfulness_ratio": ("colourfulness of the first sample relative to the real photo", ""),
    "largest_lightness_change": ("largest change of L", ""),
    "crps": ("CRPS, mean over all lead times", "mm/h"),
    "steps_crps": ("CRPS of STEPS", "mm/h"),
    "sprog_crps": ("CRPS of S-PROG", "mm/h"),
    "extrapolation_crps": ("CRPS of extrapolation", "mm/h"),
    "persistence_crps": ("CRPS of persistence", "mm/h"),
    "crps_over_steps": ("CRPS relative to STEPS", ""),
    "csi_1": ("CSI of the ensemble mean at 1 mm/h", ""),
    "steps_csi_1": ("CSI of the STEPS mean at 1 mm/h", ""),
    "fss_1": ("FSS of members at 1 mm/h and 16 km", ""),
    "steps_fss_1": ("FSS of STEPS members", ""),
    "spread": ("spread of members, all lead times", "mm/h"),
    "rmse": ("RMSE of the ensemble mean", "mm/h"),
    "steps_spread": ("spread of STEPS members", "mm/h"),
    "steps_rmse": ("RMSE of the STEPS mean", "mm/h"),
    "outer_ranks": ("outer two of 21 ranks at the last lead time (calibrated: 0.09)", "share"),
    "steps_outer_ranks": ("outer two ranks of STEPS", "share"),
    "seconds": ("time per forecast", "s"),
    "steps_seconds": ("time per forecast of STEPS", "s"),
    "bits_per_dim_x2": ("bits/dim of the details of the second doubling", ""),
    "bits_per_dim_x4": ("bits/dim of the details of the first doubling", ""),
    "psnr_bicubic": ("PSNR, bicubic interpolation", "dB"),
    "psnr_gain": ("PSNR of the mean of the samples relative to bicubic interpolation", "dB"),
    "gms_best": ("gradient-magnitude similarity, best sample of each photo", ""),
    "gms_sample": ("gradient-magnitude similarity, mean over samples", ""),
    "gms_bicubic": ("gradient-magnitude similarity, bicubic interpolation", ""),
    "gms_loss_ratio": ("1 − similarity of the best sample, relative to bicubic interpolation", ""),
    "largest_change": ("largest difference of the averaged samples from the small photo", "grey levels"),
    "round_trip_data": ("round trip data → latent → data: largest error", "/256"),
    "round_trip_latent": ("round trip latent → data → latent: largest error", "/256"),
    "nonfinite": ("non-finite values before any redraw", ""),
    "seconds_per_frame": ("time per sampled frame", "s"),
    "seconds_per_digit": ("time per digit", "s"),
    "seconds_per_picture": ("time per colouring", "s"),
    "seconds_per_variant": ("time per enlarged variant", "s"),
}
# Figure of a comparison → its column heading.
COLUMNS = {
    "parameters": "parameters",
    "trained": "trained",
    "steps": "steps",
    "nats": "nats",
    "nats_per_digit": "nats per digit",
    "right": "correct sums among those drawn",
    "calibration_error": "calibration error",
    "resimulation_error": "error of re-simulated y",
    "mmd_from_rejection": "MMD from rejection sampling",
    "bits_per_dim": "bits/dim",
    "digits_per_s": "samples per second",
    "bayes": "accuracy of Bayes' rule",
    "recognised_at_1": "recognised, T = 1",
    "recognised_at_0.8": "T = 0.8",
    "recognised_at_0.6": "T = 0.6",
    "ink_correlation": "correlation of requested and drawn ink",
    "nats_per_pixel": "nats/pixel, K = 1",
    "nats_per_pixel_k16": "K = 16",
    "iou_of_mean": "IoU of the mean of the samples",
    "iou_sample": "IoU of a sample",
    "iou_best": "IoU of the best sample",
    "components_sample": "components of a sample",
    "components": "components of the true mask",
}
SETTINGS = {
    "events": "event {0[0]}", "members": "{} members", "leads": "{} lead times",
    "clips": "{} clips", "context": "frames given: {}", "scored_frames": "frames scored: {}",
    "digits": "{} digits",
    "photos": "{} photos", "num_samples": "{} samples each", "temperature": "T = {}",
    "tuned_on": "tuned on {}", "noise": "{} noise", "seed": "seed {}", "dtype": "{}", "device": "on {}",
}  # fmt: skip


def main() -> int:
    """Exit code: 0, or with --check 1 if a page is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is out of date")
    arguments = parser.parse_args()
    if arguments.check:
        texts = pages()
        current = all(p.is_file() and p.read_text(encoding="utf-8") == text for p, text in texts.items())
        return 0 if current else 1
    write()
    print(PAGE)
    return 0


def write() -> None:
    """Rewrite the page and the density tables in docs/FLOWS.md."""
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Text of both pages, made from the files."""
    results = read(FOLDER)
    tables = density_tables(results[DENSITIES])
    return {
        BENCHMARKS: benchmarks(results),
        PAGE: render(results, read_store()),
        FLOWS: filled(FLOWS.read_text(encoding="utf-8"), tables),
    }


def benchmarks(results: Mapping[str, Data]) -> str:
    """The page of published benchmarks."""
    parts = [BENCHMARKS_HEADER]
    for name in MODULES:
        about = benchmark(name)
        if (data := results.get(BENCHMARK + name)) is None:
            parts += [f"## {name}: {about.summary}", "", f"{about.note}. Not measured yet.", ""]
            continue
        protocol = data["protocol"]
        made = f"torch {protocol['versions']['torch']}, {protocol['machine']}"
        made += f", {protocol['processor_seconds']} s of processor time"
        command = f"{protocol['command']} > docs/results/{BENCHMARK}{name}.json"
        parts += [
            f"## {name}: {about.summary}",
            "",
            table(about, data["rows"]),
            "",
            f"{about.note}. {made}.",
            "",
        ]
        parts += ["```", command, "```", ""]
    return "\n".join(parts)


def read(folder: Path) -> dict[str, Data]:
    """File name without suffix → output of the command."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def render(results: Mapping[str, Data], entries: Mapping[str, Data]) -> str:
    """The page: the table of each task, and what was compared for it."""
    parts = [HEADER]
    for title, (keys, names) in TASKS.items():
        measures = [MEASURES[key] for key in FIGURES if key.startswith(keys)]
        found = {name: results[name] for name in names if name in results}
        evaluated = {name: data for name, data in found.items() if "rows" not in data}
        rows = [line for m in measures for line in promised(m, entries.get(m.key))]
        rows += [line for name, data in evaluated.items() for line in evaluation(name, data)]
        parts += [f"## {title}", "", *TABLE, *rows, ""]
        parts += [note for m in measures if (note := remark(m, entries.get(m.key)))]
        parts += [made for name, data in evaluated.items() for made in how(name, data)]
        parts += [comparison(name, data) for name, data in found.items() if "rows" in data]
    return "\n".join(parts)


def promised(measure: Measure, entry: Data | None) -> list[str]:
    """Rows of the figures of one measure that are promised or found; the first has date and commit."""
    values = (entry or {}).get("values", {})
    made = f" ({entry['date']}, {entry['commit']})" if entry and entry.get("date") else ""
    rows = [
        f"{row(key, figure, entry)} {measure.key}"
        for key, figure in measure.figures.items()
        if figure.threshold() or values.get(key) is not None
    ]
    return [f"{text}{'' if place else made} |" for place, text in enumerate(rows)]


def remark(measure: Measure, entry: Data | None) -> str:
    """A list item of what a measure said of its run; empty if nothing."""
    said = [text for text in ((entry or {}).get("error"), (entry or {}).get("note")) if text]
    return f"- {measure.key}: {'; '.join(text.rstrip('.') for text in said)}." if said else ""


def evaluation(name: str, data: Data) -> list[str]:
    """Rows of one evaluation."""
    return [
        f"| {label} | {f'{shown(data[key])} {unit}'.strip()} | | | {name} |"
        for key, (label, unit) in ROWS.items()
        if data.get(key) is not None
    ]


def how(name: str, data: Data) -> list[str]:
    """Settings and command of one evaluation."""
    protocol = data["protocol"]
    settings = [text.format(protocol[key]) for key, text in SETTINGS.items() if key in protocol]
    made = f"torch {protocol['versions']['torch']}, checkpoint {protocol['checkpoint_hash'][:12]}"
    command = f"{protocol['command']} --json > docs/results/{name}.json"
    return ["", f"{name} on {protocol['data']} ({protocol['split']}): {'; '.join(settings)}; {made}.", "",
            "```", command, "```", ""]  # fmt: skip


def comparison(name: str, data: Data) -> str:
    """Table of models side by side, with the command that produced it."""
    found = [key for key in COLUMNS if any(key in row for row in data["rows"])]
    rows = [
        f"| {' | '.join([row['model'], *(shown(row[key]) if key in row else '' for key in found)])} |"
        for row in data["rows"]
    ]
    heads = [f"| | {' | '.join(COLUMNS[key] for key in found)} |", "|---|" + "---|" * len(found)]
    made = f"{data['note']}; torch {data['protocol']['versions']['torch']}."
    command = ["```", f"{data['protocol']['command']} > docs/results/{name}.json", "```", ""]
    return "\n".join(["", f"### {data['title']}", "", *heads, *rows, "", made, "", *command])


def shown(value: Any) -> str:
    """A number with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
