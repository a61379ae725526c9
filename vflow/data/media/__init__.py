"""Media in and out: the only reader and writer of files, folders and arrays of frames."""

from vflow.data.media.arrays import as_frames, read_members
from vflow.data.media.clip import Clip, FrameStream, Loss, fit, resize, retime
from vflow.data.media.limits import DEFAULT_LIMITS, TRAINING_LIMITS, Limits
from vflow.data.media.read import (
    Probe,
    is_video,
    list_media,
    natural_key,
    probe,
    read_clip,
    read_frames,
    read_image,
    read_photo,
    stream_frames,
)
from vflow.data.media.sniff import (
    ACCEPTED,
    ARRAY_SUFFIXES,
    IMAGE_SUFFIXES,
    STILL_SUFFIXES,
    VIDEO_SUFFIXES,
    require_exists,
)
from vflow.data.media.sound import copy_sound
from vflow.data.media.stills import check_mode
from vflow.data.media.write import (
    EXISTS,
    OTHER_OUTPUT,
    Add,
    atomic_write,
    check_folder,
    check_keeps,
    encode_png,
    video_writer,
    write_npz,
    write_png,
    write_video,
)

__all__ = [
    "ACCEPTED",
    "ARRAY_SUFFIXES",
    "DEFAULT_LIMITS",
    "EXISTS",
    "IMAGE_SUFFIXES",
    "OTHER_OUTPUT",
    "STILL_SUFFIXES",
    "TRAINING_LIMITS",
    "VIDEO_SUFFIXES",
    "Add",
    "Clip",
    "FrameStream",
    "Limits",
    "Loss",
    "Probe",
    "as_frames",
    "atomic_write",
    "check_folder",
    "check_keeps",
    "check_mode",
    "copy_sound",
    "encode_png",
    "fit",
    "is_video",
    "list_media",
    "natural_key",
    "probe",
    "read_clip",
    "read_frames",
    "read_image",
    "read_members",
    "read_photo",
    "require_exists",
    "resize",
    "retime",
    "stream_frames",
    "video_writer",
    "write_npz",
    "write_png",
    "write_video",
]
