import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from imagelab.data import IMAGE_SIZES
from imagelab.errors import SettingsError
from imagelab.models import RESIDUAL
from imagelab.settings import TrainSettings, name_of, parse, validate
from tests.conftest import ROOT

TEACHER = "models:/m-1"
RESNET = ("--model", "resnet20")
CIFAR = (*RESNET, "--dataset", "cifar100")


def parsed(*arguments: str) -> TrainSettings:
    return parse(TrainSettings, "train", arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--epochs", "3", "--note", "it's a; test"),
        ("--epochs=3", "--note=it's a; test"),
        ("-P", "epochs=3", "-P", "note=it's a; test"),
    ],
)
def test_every_spelling_means_the_same(arguments: tuple[str, ...]) -> None:
    assert parsed(*arguments) == TrainSettings(epochs=3, note="it's a; test")


@pytest.mark.parametrize("note", ["-starts with a dash", "--epochs", "a=b", "", "100 %"])
def test_text_may_look_like_anything(note: str) -> None:
    assert parsed("--note", note).note == note


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stochastic_depth", "0.2"], ["stochastic_depth=0.2", "basic_cnn", "small_resnet, resnet20"]),
        (["--progressive", "16"], ["progressive=16", "two or more sizes", "16:24:32"]),
        (["--progressive", "16,32"], ["progressive=16,32", "joined by colons"]),
        (["--progressive", "016:28"], ["progressive=016:28", "joined by colons"]),
        (["--progressive", "3:28"], ["progressive=3:28", "must rise, from at least 4 pixels"]),
        (["--progressive", "16:16:28"], ["progressive=16:16:28", "must rise"]),
        (["--progressive", "28:16"], ["progressive=28:16", "must rise"]),
        (
            ["--progressive", "14:28"],
            ["progressive=14:28", "basic_cnn takes images of one size", "small_resnet, resnet"],
        ),
        (["--model", "deeper_cnn", "--progressive", "14:28"], ["progressive=14:28", "images of one size"]),
        (["--model", "vit", "--progressive", "14:28"], ["progressive=14:28", "resizes images itself; give image_size"]),
        (["--progressive", "16:32", *RESNET], ["progressive=16:32", "must end with 28", "fashion_mnist"]),
        (["--progressive", "14:28", *CIFAR], ["progressive=14:28", "must end with 32", "cifar100"]),
        (["--progressive", "14:28", *RESNET, "--time_limit", "9"], ["time_limit=9", "does not go with progressive"]),
        (
            ["--progressive", "14:28", *RESNET, "--learning_rate_schedule", "plateau"],
            ["progressive=14:28", "does not go with plateau"],
        ),
        (["--teacher", "best"], ["teacher=best", "run id", "models:/NAME@ALIAS"]),
        (["--distillation_weight", "0.5"], ["distillation_weight=0.5", "without a teacher"]),
        (["--model", "basic_cn"], ["model=basic_cn", "basic_ann, basic_cnn, deeper_cnn", "did you mean basic_cnn"]),
        (["--dataset", "Fashion-MNIST"], ["dataset=Fashion-MNIST", "cifar100", "did you mean fashion_mnist"]),
        (["--learning-rate", "0.1"], ["no setting named 'learning-rate'", "did you mean learning_rate"]),
        (["--lr", "0.1"], ["no setting named 'lr'", "did you mean learning_rate"]),
        (["--qqqq", "0.1"], ["no setting named 'qqqq'", "known settings: dataset, model"]),
        (
            ["--augmentation", "flip+rotate"],
            ["augmentation=flip+rotate", "shift, rotation, zoom", "did you mean rotation"],
        ),
        (["--augmentation", "flip+flip"], ["augmentation=flip+flip", "names a change twice"]),
        (["--augmentation", "none+flip"], ["augmentation=none+flip", "must be none, or some of"]),
        (["--mixup", "0.01"], ["mixup=0.01", "must be 0, or at least 0.05"]),
        (["--optimizer", "adam2"], ["optimizer=adam2", "adam, adamw, sgd, lion"]),
        (["--ema", "1"], ["ema=1", "less than 1"]),
        (["--ema", "0.9", "--average_epochs", "2"], ["average_epochs=2", "ema=0.9 averages the weights, too"]),
        (["--cutmix", "-1"], ["cutmix=-1"]),
        (["--epochs", "0"], ["epochs=0", "greater than or equal to 1", "a whole number >= 1 and <= 10000"]),
        (["--epochs", "many"], ["epochs=many", "a whole number"]),
        (["--epochs", "2.5"], ["epochs=2.5", "a whole number"]),
        (["--dropout_rate", "1"], ["dropout_rate=1", "less than 1"]),
        (["--learning_rate", "nan"], ["learning_rate=nan", "finite"]),
        (["--learning_rate", "-1"], ["learning_rate=-1", "a number > 0"]),
        (["--mixed_precision", "half"], ["mixed_precision=half", "auto, float32, bfloat16, float16"]),
        (["--data_dir", "/no/such/folder"], ["data_dir=/no/such/folder", "existing folder"]),
        (["--resume", "abc"], ["resume=abc", "an MLflow run id, 32 hexadecimal digits"]),
        (["--epochs", "1", "--epochs", "2"], ["epochs is given twice: 1 and 2"]),
        (["--epochs"], ["--epochs", "expected one argument"]),
        (["epochs=3"], ["epochs=3", "--epochs=3 or -P epochs=3"]),
        (["-epochs", "3"], ["--epochs=VALUE or -P epochs=VALUE"]),
        (["--data_dir", ""], ["data_dir=", "existing folder"]),
        (["--limit", "20", "--validation_fraction", "0.02"], ["limit=20", "no images are left"]),
        (["--note", "x" * 6000], ["note=xxx", "..."]),
        (["-P"], ["-P needs name=value"]),
        (["--image_size", "64"], ["image_size=64", "model=basic_cnn has no such setting", "resnet50, vgg16"]),
        (["--model", "vgg16", "--weights", "imagnet"], ["weights=imagnet", "imagenet, none, or the path"]),
        (["--model", "vgg16", "--weights", "no.weights.h5"], ["weights=no.weights.h5", "there is no such file"]),
        (
            ["--model", "vgg16", "--weights", "none", "--fine_tune_epochs", "3"],
            ["fine_tune_epochs=3", "nothing frozen"],
        ),
        (["--model", "vgg16", "--image_size", "31"], ["image_size=31", ">= 32"]),
        (["--model", "vit", "--pooled_stages", "2"], ["pooled_stages=2", "model=vit has 1"]),
        (["--model", "vgg16", "--head", "deep"], ["head=deep", "linear, wide, mlp"]),
        (["--help", "x"], ["help=x: help takes no value"]),
        (["--help="], ["help"]),
    ],
)
def test_a_mistake_is_one_line_that_helps(arguments: list[str], said: list[str]) -> None:
    with pytest.raises(SettingsError) as error:
        parsed(*arguments)
    assert "\n" not in str(error.value)
    for words in said:
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("none", "none"), ("flip_shift", "flip+shift"), ("erasing+zoom+flip", "flip+zoom+erasing"), ("shift", "shift")],
)
def test_one_augmentation_has_one_name(typed: str, kept: str) -> None:
    assert parsed("--augmentation", typed).augmentation == kept


def test_what_is_allowed_is_said_once() -> None:
    with pytest.raises(SettingsError) as error:
        parsed("--resume", "abc")
    assert str(error.value) == "resume=abc: must be an MLflow run id, 32 hexadecimal digits"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        TrainSettings().epochs = 3  # type: ignore[misc]


def test_unknown_names_are_refused_from_python_too() -> None:
    with pytest.raises(SettingsError, match="did you mean epochs"):
        validate(TrainSettings, {"epoch": 3})


def test_help_lists_each_setting_and_starts_neither_tensorflow_nor_mlflow() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "entrypoints.train", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name, field in TrainSettings.model_fields.items():
        assert f"--{name}" in done.stdout
        assert field.description
    assert "[a number >= 0 and < 1;" in " ".join(done.stdout.split())
    for slow in ("tensorflow", "keras", "mlflow", "pandas", "numpy"):
        assert f" {slow}\n" not in done.stderr


def test_the_recipe_fills_only_what_is_not_given() -> None:
    complete = TrainSettings(model="deeper_cnn", epochs=3).with_recipe()
    assert (complete.epochs, complete.learning_rate, complete.batch_size) == (3, 0.0005, 128)
    assert complete.dropout_rate is None


def test_what_is_given_leaves_defaults_out() -> None:
    given = parsed("--model", "basic_cnn", "--dataset", "cifar100", "--epochs", "3", "--resume", "0" * 32).given()
    assert given == {"dataset": "cifar100", "epochs": 3}


def test_a_setting_reaches_the_function_that_names_it() -> None:
    def work(dataset: object, epochs: int, other: int = 0) -> None: ...

    assert TrainSettings(epochs=3).arguments_of(work) == {"epochs": 3}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "vit", "fine_tune_epochs": 2}, "fine_tune_epochs=2: weights=none"),
        ({"model": "vgg16", "fine_tune_at": "block5_conv1"}, "fine_tune_at=block5_conv1: has no effect without"),
        ({"model": "vgg16", "fine_tune_learning_rate": 1e-5}, "fine_tune_learning_rate=1e-05: has no effect without"),
        ({"model": "vgg16", "augmentation": "flip"}, "augmentation=flip: has no effect on a frozen backbone"),
        (
            {"model": "resnet20", "epochs": 2, "progressive": "7:14:28"},
            r"progressive=7:14:28: has more sizes than there are epochs \(2\)",
        ),
        (
            {"model": "resnet20", "progressive": "14:28", "teacher": TEACHER},
            "progressive=14:28: does not go with a teacher",
        ),
        ({"model": "vgg16", "mixup": 0.2}, "mixup=0.2: has no effect on a frozen backbone"),
        ({"model": "resnet50", "cutmix": 1}, "cutmix=1.0: has no effect on a frozen backbone"),
        ({"epochs": 3, "average_epochs": 3}, "average_epochs=3: must be fewer than the 3 epochs"),
        ({"epochs": 1, "average_epochs": 1}, "average_epochs=1: must be fewer than the 1 epoch"),
        (
            {"model": "resnet20", "epochs": 10, "progressive": "8:14:28", "average_epochs": 5},
            "average_epochs=5: must be at most 4, the epochs at the last size of progressive=8:14:28",
        ),
        ({"epochs": 3, "mixup": 0.2, "mix_off_epochs": 3}, "mix_off_epochs=3: must be fewer than the 3 epochs"),
        (
            {"model": "vgg16", "fine_tune_epochs": 2, "warmup_epochs": 3},
            "warmup_epochs=3: must be fewer than the 2 epochs",
        ),
        (
            {"learning_rate_schedule": "plateau", "early_stopping_patience": 3},
            "early_stopping_patience=3: ends the training before plateau lowers the rate",
        ),
        ({"model": "vgg16", "teacher": TEACHER}, "teacher: a frozen backbone cannot be taught; model=vgg16 with"),
        (
            {"teacher": TEACHER, "augmentation": "erasing"},
            "augmentation=erasing: with a teacher, .* none, flip, flip.shift",
        ),
        ({"teacher": TEACHER, "class_weight": "balanced"}, "class_weight=balanced: does not go with a teacher"),
        ({"model": "basic_cnn", "warmup_epochs": 12}, "warmup_epochs=12: must be fewer than the 12 epochs"),
    ],
)
def test_what_does_not_go_with_the_recipe_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as error:
        TrainSettings(**settings).with_recipe()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dataset", IMAGE_SIZES)
@pytest.mark.parametrize("model", RESIDUAL)
def test_sizes_that_rise_to_that_of_the_images_are_accepted(model: str, dataset: str) -> None:
    sizes = f"4:{IMAGE_SIZES[dataset]}"
    settings = parsed("--model", model, "--dataset", dataset, "--progressive", sizes, "--epochs", "2")
    assert settings.with_recipe().progressive == sizes
    assert TrainSettings().with_recipe().progressive == "none"
    assert sizes in name_of(settings)


def test_what_goes_with_fine_tuning_is_accepted() -> None:
    complete = TrainSettings(model="vgg16", fine_tune_epochs=2, fine_tune_at="0.9", augmentation="flip").with_recipe()
    assert (complete.fine_tune_learning_rate, complete.weights) == (0.00001, "imagenet")


def test_settings_that_do_not_go_with_the_recipe_are_refused_without_tensorflow() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "entrypoints.train", "--model=vgg16", "--augmentation=flip"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "augmentation=flip: has no effect on a frozen backbone" in done.stderr
    for slow in ("tensorflow", "keras"):
        assert f" {slow}\n" not in done.stderr
