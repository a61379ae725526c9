"""Futures of video."""

from vflow.registry import Card, Command, Family, Kind, Walk

FAMILY = Family(
    name="videoflow",
    does="predict video",
    preset="shapes-guided",
    kinds={
        "videoflow": Kind("vflow.config.models:VideoFlowConfig", "vflow.models.videoflow:VideoFlow"),
        "lattice_videoflow": Kind(
            "vflow.config.models:LatticeVideoFlowConfig", "vflow.models.lattice_videoflow:LatticeVideoFlow"
        ),
        "frame_conditioned_videoflow": Kind(
            "vflow.config.models:FrameConditionedConfig",
            "vflow.models.frame_conditioned:FrameConditionedVideoFlow",
        ),
        "reference_videoflow": Kind(
            "vflow.config.models:ReferenceVideoFlowConfig",
            "vflow.models.reference_videoflow:ReferenceVideoFlow",
        ),
        "augmented_videoflow": Kind(
            "vflow.config.models:AugmentedVideoFlowConfig",
            "vflow.models.reference_videoflow:AugmentedVideoFlow",
        ),
    },
    card=Card(
        "video-prediction",
        "A VideoFlow: draws futures of a short video and scores its frames",
        "futures = vflow.predict(model, frames, num_frames=10, num_samples=8)",
    ),
    datasets=("shapes", "moving-digits", "moving-photos", "video-folder", "bair"),
    folder="video-folder",
    data="vflow.training.videos:open_videos",
    evaluate="vflow.pipelines.evaluate.video:evaluate_video",
    tune="vflow.pipelines.evaluate.video:tune_video",
    reads=(
        "train",
        "held_out_files",
        "limit",
        "num_samples",
        "num_frames",
        "context",
        "temperature",
        "num_importance_samples",
        "probe_clips",
    ),
    walk=Walk("vflow.pipelines.walk.video:VideoAdapter", "Start: a clip: images in order, one video, or npz"),
    task="vflow.pipelines.video.task:PREDICT",
    settings="vflow.tasks.video.settings:PredictSettings",
    command=Command(
        name="predict",
        summary="draw many futures of a video",
        help="Draw many futures of a clip.",
        unit="frame",
        input=(
            "A video, a folder of frames, an npz, images in the order of time, or a folder of several clips."
        ),
        usual="auto",
        endpoint="predict_future",
        item="clip",
        flags="vflow.commands.predict:PredictFlags",
    ),
    further=(
        Command(
            name="score",
            summary="bits per dimension of a clip's frames",
            help="Bits per dimension of each frame given those before it, what stands out, and maps of it.",
            unit="frame",
            input="A video, a folder of frames, an npz, or images in the order of time.",
            usual="auto",
            item="clip",
            settings="vflow.tasks.video.settings:ScoreSettings",
            task="vflow.pipelines.video.score_task:SCORE",
            flags="vflow.commands.score:ScoreFlags",
            home="vflow.commands.score:ScoreClips",
        ),
    ),
)
