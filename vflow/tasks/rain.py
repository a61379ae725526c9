"""Nowcasts of rain radar."""

from vflow.registry import Card, Family, Kind

FAMILY = Family(
    name="nowcast",
    does="nowcast rain radar",
    preset="rain",
    kinds={
        "nowcast": Kind("vflow.config.models:NowcastConfig", "vflow.models.nowcast:Nowcast"),
    },
    card=Card(
        "rain-nowcasting",
        "A wavelet flow: draws the next half hour of a rain radar",
        "members = vflow.nowcast(model, frames, num_frames=6, num_samples=20)",
    ),
    datasets=("rain",),
    data="vflow.training.nowcasts:open_nowcasts",
    evaluate="vflow.pipelines.evaluate.rain:evaluate_rain",
    tune="vflow.pipelines.evaluate.rain:tune_rain",
    reads=("train", "num_samples", "num_frames", "temperature"),
    task="vflow.pipelines.video.task:NOWCAST",
    settings="vflow.tasks.video.settings:NowcastSettings",
    joins="videoflow",
)
