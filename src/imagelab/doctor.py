"""What this machine has of what the project can use, and what to type next."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from imagelab.console import command_line, show
from imagelab.data import DATASETS, find_dataset
from imagelab.data.cache import weights_folder
from imagelab.errors import ImagelabError
from imagelab.features.quota import EMPTY_COMMAND, cache_size, feature_cache_folder
from imagelab.keras_startup import ONEDNN, are_kernels_fast, start_keras
from imagelab.processor import instruction_sets, usable_cores
from imagelab.registry.creation import registered_models
from imagelab.registry.overview import command_for, trained_models
from imagelab.registry.report import history_lines
from imagelab.settings import DoctorSettings
from imagelab.tracking import REPEAT, is_below_another, unlocked_run_folders, use_tracking_store, without_password

PROBLEM = "PROBLEM: "
EVENTS = 3  # of each registered model
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")  # that TensorFlow's kernels use


class Finding(NamedTuple):
    """Something found; `command` is what to type about it, if anything."""

    what: str
    found: str
    command: str = ""


def doctor(settings: DoctorSettings) -> str:
    """Show every finding as soon as it is there."""
    for finding in examine():
        show(f"{finding.what:>22}  {finding.found}")
    return ""


def examine() -> Iterator[Finding]:
    """Yield the findings one by one, what to type next at the end; a check that fails is one, and stops no other."""
    findings = []
    for check in CHECKS:
        try:
            for finding in check():
                findings.append(finding)
                yield finding
        except Exception as error:
            reason = str(error) if isinstance(error, ImagelabError) else f"{type(error).__name__}: {error}"
            findings.append(Finding(check.__name__.replace("_", " "), f"{PROBLEM}{reason}"))
            yield findings[-1]
    yield Finding("next", next_command(findings))


def next_command(findings: list[Finding]) -> str:
    """What to type: about the first problem, else about the first finding that calls for something, else train."""
    for finding in findings:
        if finding.found.startswith(PROBLEM):
            return f"mend what is said of the {finding.what}, then look again: {command_line('doctor')}"
    return next((finding.command for finding in findings if finding.command), command_line("train"))


def environment() -> Iterator[Finding]:
    libraries = ("mlflow", "keras", "tensorflow")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    yield Finding("Python", f"{platform.python_version()} with {versions}")
    found = [name for name in ("conda", "uv", "virtualenv") if shutil.which(name)]
    yield Finding("environment managers", ", ".join(f"--env-manager {name}" for name in ["local", *found]))


def hardware() -> Iterator[Finding]:
    known = ", ".join(instruction_sets(*INSTRUCTION_SETS)) or "instruction sets unknown"
    yield Finding("processor", f"{usable_cores()} x {platform.machine()}, {known}")
    memory = psutil.virtual_memory()
    yield Finding("memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free")
    yield Finding("disk", f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free here")


def tensorflow() -> Iterator[Finding]:
    start_keras()
    # Late: TensorFlow is slow to import and may be broken, which is then a finding.
    import tensorflow as tf

    from imagelab.training.precision import choose_dtype_policy

    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    yield Finding("GPU", ", ".join(str(gpu.get("device_name", gpu)) for gpu in gpus) or "none that TensorFlow can use")
    yield Finding("oneDNN kernels", kernels_text(are_kernels_fast(), os.environ[ONEDNN]))
    yield Finding("mixed_precision=auto", f"trains in {choose_dtype_policy('auto')} here")


def kernels_text(are_fast: bool | None, given: str) -> str:
    if are_fast is None:
        return f"unknown ({ONEDNN}={given})"
    if are_fast:
        return "on"
    if given == "1":
        return "off: this build of TensorFlow has none"
    return f"off, because {ONEDNN}={given} is set; without it training on the processor is faster"


def data() -> Iterator[Finding]:
    for name in DATASETS:
        found = find_dataset(name)
        yield Finding(f"data: {name}", f"complete in {found.source}" if found else "not here; fetched when first used")


def weights() -> Iterator[Finding]:
    folder = weights_folder()
    found = sorted(path.name for path in folder.glob("*.h5"))
    yield Finding("weights", f"{', '.join(found)} in {folder}" if found else f"none in {folder}")


def feature_cache() -> Iterator[Finding]:
    size = cache_size()
    advice = f"; empty it: {EMPTY_COMMAND}" if size else ""
    yield Finding("feature cache", f"{size / 2**30:.2f} GiB in {feature_cache_folder()}{advice}")


def tracking_store() -> Iterator[Finding]:
    client = use_tracking_store()
    yield Finding("tracking store", f"{without_password(client.tracking_uri)} answers")


def model_registry() -> Iterator[Finding]:
    client = use_tracking_store()
    client.search_registered_models(max_results=1)
    yield Finding("model registry", "usable")


def interrupted_runs() -> Iterator[Finding]:
    for folder in unlocked_run_folders():
        below = is_below_another(use_tracking_store(), folder.name)
        command = "" if below else command_line("train", resume=folder.name)
        yield Finding("interrupted run", f"{command or f'{folder.name}: {REPEAT}'} (or delete {folder})", command)


def trained() -> Iterator[Finding]:
    """The best model of each data set and network; the first that was trained on all images can be promoted next."""
    for row in trained_models(use_tracking_store()):
        found = f"{row.model} on {row.dataset}, validation accuracy {row.best_val_accuracy:.2%}"
        limited = "" if row.limit is None else f", of {row.limit:,} images only"
        command = command_line("promote", dataset=row.dataset, model=row.model) if row.limit is None else ""
        yield Finding("trained model", found + limited, command)


def champions() -> Iterator[Finding]:
    """The aliases of each registered model of ours, and the newest of what happened to them; changes nothing."""
    for model in registered_models(use_tracking_store()):
        log, aliases = model.history.read(), model.aliases()
        found, command = str(aliases), command_for("serve", model.name) if aliases.champion else ""
        if not log.is_applied:
            command = f"{command_for('promote', model.name)} -P history=true"
            found += f"; a promotion or rollback was cut off; finish it: {command}"
        yield Finding(model.name, found, command)
        for line in history_lines(log, newest=EVENTS):
            yield Finding("", line)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    environment,
    hardware,
    tensorflow,
    data,
    weights,
    feature_cache,
    tracking_store,
    model_registry,
    interrupted_runs,
    champions,
    trained,
)
