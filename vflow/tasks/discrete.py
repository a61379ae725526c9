"""Models of whole numbers."""

from vflow.registry import Card, Family, Kind

FAMILY = Family(
    name="discrete",
    does="score digits exactly",
    kinds={
        "integer_flow": Kind("vflow.config.codec:IntegerFlowConfig", "vflow.models.integer_flow:IntegerFlow"),
        "pixelcnn": Kind("vflow.config.codec:PixelCNNConfig", "vflow.models.pixelcnn:PixelCNN"),
    },
    card=Card(
        "image-generation",
        "A model of whole numbers: draws small images and scores them exactly",
        "images = model.generate(8, None, torch.Generator())",
    ),
    datasets=("digits",),
    data="vflow.training.images:open_images",
    grid="vflow.training.images:draw_whole_numbers",
    evaluate="vflow.pipelines.evaluate.discrete:evaluate_discrete",
    reads=("train", "limit", "num_samples"),
)
