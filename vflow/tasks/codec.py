"""Lossless files of photos and clips."""

from typing import Any

from vflow.registry import Card, Command, Family, Kind

CODING: dict[str, Any] = {
    "settings": "vflow.config.settings:Settings",
    "flags": "vflow.commands.compress:CodingFlags",
    "families": ("videoflow",),
}
COMPRESS = Command(
    "compress", "write photos and videos to lossless files",
    "A lossless .vflow file of a photo, video or npz of frames, and its size beside other formats'.",
    "part", "Photos, videos, npz files, or folders of them.", "auto", item="file",
    task="vflow.pipelines.compress:COMPRESS", home="vflow.commands.compress:Compress", **CODING,
)  # fmt: skip
DECOMPRESS = Command(
    "decompress", "give back the pixels of such files",
    "The pixels of a .vflow file: a png, or an npz of a clip.",
    "part", "Files NAME.vflow, or folders of them.", "auto", item="coded",
    task="vflow.pipelines.compress:DECOMPRESS", home="vflow.commands.compress:Decompress", **CODING,
)  # fmt: skip
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
    further=(COMPRESS, DECOMPRESS),
)
