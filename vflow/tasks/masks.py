"""Masks of images."""

from vflow.registry import Card, Family, Kind

FAMILY = Family(
    name="segmentation",
    does="draw masks",
    kinds={
        "segmentation": Kind(
            "vflow.config.models:SegmentationConfig", "vflow.models.segmentation:Segmentation"
        ),
    },
    card=Card(
        "image-segmentation",
        "A conditional flow with half-infinite noise: draws binary masks of an image",
        "masks = model.decode(noise, images, [1.0] * len(noise)).frame",
    ),
    datasets=("vessels", "skimage-masks"),
    data="vflow.training.images:open_images",
    grid="vflow.training.images:draw_given_pictures",
    evaluate="vflow.pipelines.evaluate.segmentation:evaluate_segmentation",
    reads=("limit", "num_samples", "temperature", "num_importance_samples"),
)
