"""Handwritten digits by class."""

from vflow.registry import Card, Command, Family, Kind, Walk

FAMILY = Family(
    name="digits",
    does="draw digits",
    preset="digits",
    kinds={
        "digits": Kind("vflow.config.models:DigitsConfig", "vflow.models.digits:Digits"),
        "tarflow": Kind("vflow.config.models:TarFlowConfig", "vflow.models.tarflow:TarFlow"),
    },
    card=Card(
        "image-generation",
        "A class-conditional flow of small images",
        "images = vflow.digits(model, 7, num_samples=8)",
    ),
    datasets=("digits",),
    data="vflow.training.images:open_images",
    grid="vflow.training.images:draw_digits",
    evaluate="vflow.pipelines.evaluate.digits:evaluate_digits",
    tune="vflow.pipelines.evaluate.digits:tune_digits",
    reads=("train", "limit", "num_samples", "temperature", "num_importance_samples", "classifier"),
    walk=Walk("vflow.pipelines.walk.images:DigitAdapter", "Start: an image of a digit"),
    task="vflow.pipelines.digits.digits:DRAW_DIGITS",
    settings="vflow.tasks.digits.settings:DigitsSettings",
    export="vflow.pipelines.export:digit_parts",
    command=Command(
        name="digits",
        summary="draw handwritten digits by class",
        help="Draw handwritten digits by class; a class is an item (all of them together, as npz).",
        unit="digit",
        usual="digits",
        endpoint="generate_digits",
    ),
)
