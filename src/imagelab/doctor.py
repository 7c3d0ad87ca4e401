"""What this machine has of what the project can use, and what to type next."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from imagelab.errors import ImagelabError
from imagelab.quiet import start_keras
from imagelab.tracking import RESUME, leave_wrapper, unattended_runs, use_tracking_store, without_password

Finding = tuple[str, str]

PROBLEM = "PROBLEM: "
EVENTS = 3  # of each registered model
FINISH = "mlflow run . -e promote --env-manager local -P history=true"


def examine() -> Iterator[Finding]:
    """Yield (what, what was found) one by one, what to type next at the end; nothing found wrong stops the rest."""
    start_keras()
    checks: list[Callable[[], Iterator[Finding]]] = [
        environment,
        hardware,
        data,
        weights,
        feature_cache,
        store,
        champions,
        unfinished,
    ]
    findings = []
    for check in checks:
        try:
            for finding in check():
                findings.append(finding)
                yield finding
        except Exception as error:
            findings.append((check.__name__, f"{PROBLEM}{type(error).__name__}: {error}"))
            yield findings[-1]
    yield "next", next_command(findings)


def next_command(findings: list[Finding]) -> str:
    """What to type, seeing what was found."""
    for what, found in findings:
        if found.startswith(PROBLEM):
            return f"mend what is said of the {what}, then look again: mlflow run . -e doctor --env-manager local"
    resumes = [found for what, found in findings if what == "interrupted run"]
    return resumes[0].split(" (or")[0] if resumes else "mlflow run . -e train --env-manager local"


def environment() -> Iterator[Finding]:
    libraries = ("mlflow", "keras", "tensorflow")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    yield "Python", f"{platform.python_version()} with {versions}"
    found = [name for name in ("conda", "uv", "virtualenv") if shutil.which(name)]
    yield "environment managers", ", ".join(f"--env-manager {name}" for name in ["local", *found])


def hardware() -> Iterator[Finding]:
    import tensorflow as tf

    from imagelab.training.precision import choose_dtype_policy, processor_bfloat16_features

    features = ", ".join(processor_bfloat16_features()) or "no bfloat16 instructions"
    yield "processor", f"{os.cpu_count()} x {platform.machine()}, {features}"
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    yield "GPU", ", ".join(str(gpu.get("device_name", gpu)) for gpu in gpus) or "none that TensorFlow can use"
    yield "mixed_precision=auto", f"trains in {choose_dtype_policy('auto')} here"
    memory = psutil.virtual_memory()
    yield "memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    yield "disk", f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free here"


def data() -> Iterator[Finding]:
    from imagelab.data import DATASETS, find_dataset

    for name in DATASETS:
        found = find_dataset(name)
        yield f"data: {name}", f"complete in {found.source}" if found else "not here; fetched when first used"


def weights() -> Iterator[Finding]:
    from imagelab.data import cache

    folder = cache.weights_folder()
    found = sorted(path.name for path in folder.glob("*.h5"))
    yield "weights", f"{', '.join(found)} in {folder}" if found else f"none in {folder}"


def feature_cache() -> Iterator[Finding]:
    from imagelab.features.room import EMPTY, cache_size, feature_cache_folder

    held = cache_size()
    yield (
        "feature cache",
        f"{held / 2**30:.2f} GiB in {feature_cache_folder()}" + (f"; empty it: {EMPTY}" if held else ""),
    )


def store() -> Iterator[Finding]:
    try:
        client = use_tracking_store()
    except ImagelabError as error:
        yield "tracking store", f"{PROBLEM}{error}"
        return
    leave_wrapper("delete")  # a look around is no run
    yield "tracking store", f"{without_password(client.tracking_uri)} answers"
    try:
        client.search_registered_models(max_results=1)
        yield "model registry", "usable"
    except Exception as error:
        yield "model registry", f"{PROBLEM}{error}"


def champions() -> Iterator[Finding]:
    """The aliases of each registered model of ours, and the newest of what happened to them; changes nothing."""
    from imagelab.registry.opening import registered_models
    from imagelab.registry.report import history_lines

    for model in registered_models(use_tracking_store()):
        log, name = model.history.read(), f"-P dataset={model.name.replace('-', ' -P model=', 1)}"
        found = str(model.aliases())
        if not log.is_applied:
            found += f"; a promotion or rollback was cut off; finish it: {FINISH} {name}"
        yield model.name, found
        for line in history_lines(log, newest=EVENTS):
            yield "", line


def unfinished() -> Iterator[Finding]:
    for folder in unattended_runs():
        yield "interrupted run", f"{RESUME.format(run_id=folder.name)} (or delete {folder})"
