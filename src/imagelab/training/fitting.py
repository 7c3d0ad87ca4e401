"""Everything between a data set and a best network: the one fit of train, tune and whatever trains many networks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from imagelab.data import TEACHER_VIEWS
from imagelab.data.batches import make_training_batches
from imagelab.data.dataset import Dataset, Split
from imagelab.data.mixing import Mixing
from imagelab.data.split import SplitSpec
from imagelab.data.taught_images import TaughtImages
from imagelab.features import FeatureSource, Teacher, WantedFeatures, taught_images
from imagelab.models import build_model
from imagelab.models.transfer import backbone_of, build_head, describe_features, head_of, unfreeze
from imagelab.training.backbone_features import BackboneFeatures
from imagelab.training.checkpoints import Checkpoints, Row
from imagelab.training.loop import predict, train, train_with_rising_rate
from imagelab.training.plan import FitPlan
from imagelab.training.precision import refuse_impossible, under_policy
from imagelab.training.rising_rate import RisingRate


@dataclass(frozen=True)
class FitEvents:
    """What is called when something has happened in a fit.

    Attributes:
        on_network: with the network, untrained, before anything that takes long.
        on_features: with the features of a frozen backbone, when they are there.
        on_phase: with the name of a phase that begins (head, fine_tune).
        on_epoch: with the row of a complete epoch, after its checkpoint is safe.
    """

    on_network: Callable[[keras.Model], None] = lambda network: None
    on_features: Callable[[BackboneFeatures], None] = lambda features: None
    on_phase: Callable[[str], None] = lambda phase: None
    on_epoch: Callable[[Row], None] = lambda row: None


@dataclass
class Fitter:
    """Trains networks on one split of one data set, and keeps what they share: the features of frozen backbones.

    Attributes:
        feature_cache_limit: GiB that features kept on disk may take, of all runs.
        teacher: a trained network, where plans are to learn from its answers, too.
        with_test: whether a head's network is to be asked about the test images: their features are computed too.
        kept: features by what they depend on; the folds of a cross-validation share it.
    """

    dataset: Dataset
    split: SplitSpec
    feature_cache_limit: float
    with_test: bool = False
    teacher: Teacher | None = None
    kept: dict[tuple[Any, ...], BackboneFeatures] = field(default_factory=dict)
    taught: dict[int, TaughtImages] = field(default_factory=dict)  # by the number of views

    def __post_init__(self) -> None:
        self.splits = self.split.split(self.dataset.train)

    def fit(self, plan: FitPlan, checkpoints: Checkpoints, events: FitEvents) -> int:
        """Train a network; rows and the best epoch are in `checkpoints` afterwards. Return its parameter count.

        Goes on where the checkpoints end.

        Raises:
            DivergedError: the loss became NaN or infinite.
            SettingsError, WeightsError, DataError: nothing can be trained so.
        """
        refuse_impossible(plan.dtype_policy)
        if plan.is_frozen:
            return self.fit_on_backbone(plan, checkpoints, events)
        network = self.build(plan, plan.dtype_policy, of_any_size=bool(plan.sizes))
        events.on_network(network)
        train(network, (self.learned_from(plan), self.splits[1]), checkpoints, plan, on_epoch=events.on_epoch)
        return int(network.count_params())

    def learned_from(self, plan: FitPlan) -> Split | TaughtImages:
        """The images to learn from; with a teacher, in the views that the augmentation makes, and with its answers."""
        if self.teacher is None:
            return self.splits[0]
        views = TEACHER_VIEWS[plan.augmentation]
        if views not in self.taught:
            sources = self.teacher, self.dataset, self.split
            self.taught = {views: taught_images(*sources, views, self.feature_cache_limit)}
        return self.taught[views]

    def fit_on_backbone(self, plan: FitPlan, checkpoints: Checkpoints, events: FitEvents) -> int:
        """Train a head on the frozen backbone's features, then, if the plan has it, the backbone's last layers."""
        network = self.build_unfrozen(plan) if plan.fine_tune_epochs else None
        features = self.features(plan, events)
        events.on_phase("head")
        head = self.build_head(plan, features.length)
        train(head, features.splits, checkpoints, plan.of_head(), "head", events.on_epoch)
        if network is not None:
            events.on_phase("fine_tune")
            if not checkpoints.rows_of("fine_tune"):
                network.set_weights(self.best_network(plan, checkpoints).get_weights())
            train(network, self.splits, checkpoints, plan.of_fine_tuning(), "fine_tune", events.on_epoch)
        return int(backbone_of(features.float32_model).count_params() + head.count_params())

    def try_rates(self, plan: FitPlan, rising: RisingRate, events: FitEvents) -> None:
        """Train a network, or the head of one with a frozen backbone, while the rate rises; nothing of it is kept."""
        refuse_impossible(plan.dtype_policy)
        if not plan.is_frozen:
            network = self.build(plan, plan.dtype_policy)
            events.on_network(network)
            return train_with_rising_rate(network, self.splits[0], plan, rising)
        features = self.features(plan, events)
        head = self.build_head(plan, features.length)
        return train_with_rising_rate(head, features.splits[0], plan.of_head(), rising)

    def build(self, plan: FitPlan, policy: str, of_any_size: bool = False) -> keras.Model:
        """The plan's network, untrained but for a backbone's weights.

        Args:
            of_any_size: take images of any height and width; the weights are the same.
        """
        seed_everything(plan.seed)
        height, width, channels = self.dataset.image_shape
        shape = (None, None, channels) if of_any_size else (height, width, channels)
        with under_policy(policy):
            return build_model(plan.model, shape, self.dataset.num_classes, **plan.network_options)

    def build_head(self, plan: FitPlan, length: int) -> keras.Model:
        """The head of the plan's network alone, with the same weights as in the network that `build` gives."""
        seed_everything(plan.seed)
        with under_policy(plan.dtype_policy):
            return build_head(str(plan.head), length, self.dataset.num_classes, plan.dropout_rate)

    def build_unfrozen(self, plan: FitPlan) -> keras.Model:
        network = self.build(plan, plan.dtype_policy)
        unfreeze(network, str(plan.fine_tune_at))
        return network

    def first_batch(self, plan: FitPlan) -> tuple[np.ndarray, np.ndarray]:
        """A batch of images, changed as the plan says, and their targets."""
        train_split, epoch = self.learned_from(plan), tf.Variable(0, dtype=tf.int64, trainable=False)
        options = (self.dataset.num_classes, plan.batch_size, plan.seed, epoch, plan.changes_at_each_step)
        batches = make_training_batches(train_split, *options, Mixing(plan.mixup, plan.cutmix, until=1), plan.sizes)
        images, targets = next(iter(batches))
        return images.numpy(), targets.numpy()[:, : self.dataset.num_classes]

    def features(self, plan: FitPlan, events: FitEvents) -> BackboneFeatures:
        """What a head learns from; of the plans asked for so far the two newest backbones are kept."""
        if plan.features_key in self.kept:
            features = self.kept[plan.features_key]
            events.on_network(features.network)
            events.on_features(features.found_again())
        else:
            for key in [*self.kept][:-1]:
                del self.kept[key]
            self.kept[plan.features_key] = self.compute_features(plan, events)
        if self.kept[plan.features_key].split != self.split:  # of another fold
            self.kept[plan.features_key] = self.kept[plan.features_key].split_by(self.split)
        return self.kept[plan.features_key]

    def compute_features(self, plan: FitPlan, events: FitEvents) -> BackboneFeatures:
        """Features of a frozen backbone; computed where no run did before."""
        float32_model = self.build(plan, "float32")
        network = float32_model if plan.dtype_policy == "float32" else self.build(plan, plan.dtype_policy)
        events.on_network(network)
        description = describe_features(float32_model) | {"dataset_digest": self.dataset.digest}
        source = FeatureSource(float32_model, network, description, self.feature_cache_limit)
        views = 1 + (plan.augmented_views or 0)
        wanted = [WantedFeatures("train", self.dataset.train, self.split.limit, views)]
        wanted += [WantedFeatures("test", self.dataset.test)] if self.with_test else []
        train_features, *test = source.features(wanted)
        digest = str(description["weights_digest"])
        splits, of_test = self.split.split(train_features), test[0] if test else None
        features = BackboneFeatures(
            *(float32_model, network, train_features, self.split, splits, of_test, source.seconds, digest)
        )
        events.on_features(features)
        return features

    def best_network(self, plan: FitPlan, checkpoints: Checkpoints) -> keras.Model:
        """The network of the best epoch, in float32: what is scored, kept and served computes so on any machine."""
        network = self.build(plan, "float32")
        part = head_of(network) if checkpoints.best_row["phase"] == "head" else network
        part.load_weights(checkpoints.best_path)
        return network

    def test_probabilities(self, plan: FitPlan, network: keras.Model, phase: str) -> np.ndarray:
        """What the best network says of the test images, float32 (n, num_classes); its head of their features.

        Args:
            phase: the one that the network's epoch belongs to.
        """
        if phase == "head" and (test := self.features(plan, FitEvents()).test) is not None:
            return predict(head_of(network), test)
        return predict(network, self.dataset.test)

    def fold_probabilities(self, plan: FitPlan, network: keras.Model, phase: str) -> np.ndarray:
        """The same of the images of the split's fold; of a head, of the features that it would have learned from."""
        indices = self.split.fold_indices(self.dataset.train.labels)
        if phase == "head":
            return predict(head_of(network), self.features(plan, FitEvents()).train.take(indices))
        return predict(network, self.dataset.train.take(indices))


def seed_everything(seed: int) -> None:
    """Fix every source of chance; on a GPU also the order of sums, which costs speed (a processor's is fixed)."""
    keras.utils.set_random_seed(seed)
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
