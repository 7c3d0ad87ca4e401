"""The training of one trial. Data, and the features of a frozen backbone, are loaded once a process."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagelab.quiet import start_keras
from imagelab.settings import TrainSettings

if TYPE_CHECKING:
    import keras

    from imagelab.data.dataset import Dataset, Split
    from imagelab.features import Features

Row = dict[str, Any]
FEATURES = ("model", "weights", "image_size", "pooled_stages", "augmented_views", "mixed_precision")


@dataclass(frozen=True)
class Backbone:
    """A frozen backbone: its features to learn from and to choose by, and what a head on them needs to know.

    Attributes:
        length: numbers a feature vector has.
        parameter_count: those of the backbone alone.
    """

    parts: "tuple[Features, Features]"
    length: int
    parameter_count: int


class Workbench:
    """Trains networks that differ in what is searched, one after the other."""

    def __init__(self, base: TrainSettings) -> None:
        """Load the data.

        Raises:
            DataError: it cannot be had.
        """
        start_keras()
        from imagelab.data import load_dataset
        from imagelab.data.dataset import split_validation

        self.dataset: Dataset = load_dataset(base.dataset, **base.arguments_of(load_dataset))
        self.parts: tuple[Split, Split] = split_validation(self.dataset.train, **base.arguments_of(split_validation))
        self.backbones: dict[tuple[Any, ...], Backbone] = {}
        gc.freeze()  # all that is imported by now: Keras collects garbage before each trial, and would search that, too

    def train(self, settings: TrainSettings, folder: Path, on_epoch: Callable[[Row], None]) -> dict[str, float]:
        """Train, and return every figure that may be an objective, of the epoch with the lowest val_loss.

        Raises:
            DivergedError: the loss became NaN or infinite.
            SettingsError, WeightsError, DataError: nothing can be trained so.
        """
        import keras

        from imagelab.training import Checkpoints, RowsOnly

        keras.backend.clear_session()
        frozen = settings.weights not in (None, "none")
        checkpoints = Checkpoints(folder) if settings.fine_tune_epochs else RowsOnly()
        train = self.train_head if frozen and not settings.fine_tune_epochs else self.train_network
        parameter_count = train(settings, checkpoints, on_epoch)
        best = checkpoints.best_row
        return {
            **{name: value for name, value in best.items() if name.startswith("val_")},
            "best_epoch": best["epoch"],
            "parameter_count": parameter_count,
            "training_seconds": sum(row["epoch_seconds"] for row in checkpoints.rows),
        }

    def train_head(self, settings: TrainSettings, checkpoints: Any, on_epoch: Callable[[Row], None]) -> int:
        """Train a head on the features of a frozen backbone, as `experiment.train_by_transfer` does."""
        from imagelab.models.transfer import build_head
        from imagelab.training import choose_dtype_policy, seed_everything, train, under_policy

        backbone = self.backbone_of(settings)
        seed_everything(settings.seed)
        assert settings.head is not None
        with under_policy(choose_dtype_policy(settings.mixed_precision)):
            head = build_head(settings.head, backbone.length, self.dataset.num_classes, settings.dropout_rate)
        options = settings.arguments_of(train) | {"on_epoch": on_epoch, "phase": "head", "augmentation": "none"}
        train(head, *backbone.parts, checkpoints, **options)
        return backbone.parameter_count + int(head.count_params())

    def train_network(self, settings: TrainSettings, checkpoints: Any, on_epoch: Callable[[Row], None]) -> int:
        """Train all of a network; a pretrained one's head first, then its last layers."""
        from imagelab.models.transfer import is_frozen, unfreeze
        from imagelab.training import choose_dtype_policy, fine_tune, train

        network = self.build(settings, choose_dtype_policy(settings.mixed_precision))
        options = settings.arguments_of(train) | {"on_epoch": on_epoch}
        if not is_frozen(network):
            train(network, *self.parts, checkpoints, **options)
            return int(network.count_params())
        unfreeze(network, **settings.arguments_of(unfreeze))
        best = self.build(settings, "float32")
        self.train_head(settings, checkpoints, on_epoch)
        fine_tune(network, best, *self.parts, checkpoints, **options | settings.arguments_of(fine_tune))
        return int(network.count_params())

    def build(self, settings: TrainSettings, policy: str) -> "keras.Model":
        from imagelab.models import build_model
        from imagelab.training import seed_everything, under_policy

        seed_everything(settings.seed)
        with under_policy(policy):
            options = settings.arguments_of(build_model)
            return build_model(settings.model, self.dataset.image_shape, self.dataset.num_classes, **options)

    def backbone_of(self, settings: TrainSettings) -> Backbone:
        """What these settings learn from; the two newest backbones are kept."""
        key = tuple(getattr(settings, name) for name in FEATURES)
        if key not in self.backbones:
            self.backbones = dict([*self.backbones.items()][-1:])
            self.backbones[key] = self.load_backbone(settings)
        return self.backbones[key]

    def load_backbone(self, settings: TrainSettings) -> Backbone:
        """Features of a frozen backbone, computed where no run did before."""
        from imagelab.data.dataset import split_validation
        from imagelab.features import FeatureSource
        from imagelab.models.transfer import backbone_of, describe_features
        from imagelab.training import choose_dtype_policy

        best = self.build(settings, "float32")
        network = self.build(settings, choose_dtype_policy(settings.mixed_precision))
        description = describe_features(best) | {"dataset_digest": self.dataset.digest}
        source = FeatureSource(best, network, description, settings.feature_cache_limit)
        views = 1 + (settings.augmented_views or 0)
        features = source.features("train", self.dataset.train, limit=settings.limit, views=views)
        parts = split_validation(features, **settings.arguments_of(split_validation))
        return Backbone(parts, best.get_layer("features").output.shape[-1], int(backbone_of(best).count_params()))
