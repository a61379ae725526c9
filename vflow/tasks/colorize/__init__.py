"""Colours for photos."""

from vflow.registry import Card, Command, Family, Kind, Walk

FAMILY = Family(
    name="colorizer",
    does="colour photos",
    preset="colorizer",
    kinds={
        "colorizer": Kind("vflow.config.models:ColorizerConfig", "vflow.models.colorizer:Colorizer"),
    },
    card=Card(
        "image-colorization",
        "A wavelet flow: draws colours for the lightness of a photo",
        "colourings = vflow.colorize(model, photo, num_samples=8)",
    ),
    datasets=("photos",),
    data="vflow.training.images:open_images",
    grid="vflow.training.images:draw_photos",
    evaluate="vflow.pipelines.evaluate.color:evaluate_color",
    tune="vflow.pipelines.evaluate.color:tune_color",
    reads=("train", "limit", "num_samples", "temperature", "num_importance_samples"),
    walk=Walk("vflow.pipelines.walk.images:PhotoAdapter", "Start: a photo"),
    task="vflow.pipelines.color.task:COLORIZE",
    settings="vflow.tasks.colorize.settings:ColorSettings",
    export="vflow.pipelines.export:color_parts",
    command=Command(
        name="colorize",
        summary="draw many colourings of photos",
        help="Draw many colourings of photos, each with the lightness and size of its photo.",
        unit="image",
        input="Photos, videos, or folders of them.",
        usual="colorizer",
    ),
)
