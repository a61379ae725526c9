"""Details for enlarged photos."""

from vflow.registry import Card, Command, Family, Kind

FAMILY = Family(
    name="super_resolution",
    does="enlarge photos",
    preset="enlarge",
    kinds={
        "super_resolution": Kind(
            "vflow.config.models:SuperResolutionConfig", "vflow.models.super_resolution:SuperResolution"
        ),
    },
    card=Card(
        "image-super-resolution",
        "A conditional flow: draws details for a photo enlarged 2 or 4 times",
        "variants = vflow.upscale(model, photo, scale=4, num_samples=4)",
    ),
    datasets=("photos",),
    data="vflow.training.images:open_images",
    grid="vflow.training.images:draw_given_pictures",
    evaluate="vflow.pipelines.evaluate.super_resolution:evaluate_super_resolution",
    tune="vflow.pipelines.evaluate.super_resolution:tune_super_resolution",
    reads=("train", "limit", "num_samples", "temperature"),
    task="vflow.pipelines.upscale:ENLARGE",
    settings="vflow.tasks.enlarge.settings:EnlargeSettings",
    export="vflow.pipelines.export:enlarge_parts",
    command=Command(
        name="upscale",
        summary="enlarge photos, in many variants",
        help="Draw many enlargements of photos; their block means are the photo's own pixels.",
        unit="image",
        input="Photos, or folders of them.",
        usual="enlarge",
    ),
)
