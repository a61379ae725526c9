"""Lossless files of photos and clips."""

from vflow.registry import Card, Family, Kind

FAMILY = Family(
    name="codec",
    does="compress",
    preset="codec-photo",
    kinds={
        "photo_codec": Kind(
            "vflow.config.codec:PhotoCodecConfig", "vflow.models.codec:PhotoCodec", ("photos",)
        ),
        "clip_codec": Kind(
            "vflow.config.codec:ClipCodecConfig", "vflow.models.codec:ClipCodec", ("video-folder",)
        ),
    },
    card=Card(
        "lossless-compression",
        "A pyramid of lattices: codes photos or clips without loss, by their likelihood",
        "data = vflow.compress(model, pixels); pixels = vflow.decompress(model, data)",
    ),
    data="vflow.training.codecs:open_codec",
    evaluate="vflow.pipelines.evaluate.codec:evaluate_codec",
    reads=("train", "limit"),
)
