"""The engine that is Apache Spark: `mlflow.pyfunc.spark_udf` between two stages that read images and write shards.

Each task takes a range of shards: it reads their images, lets MLflow's UDF classify them, and writes each shard as soon
as it is complete (`spark_stages.py`). So nothing is collected in this process, and what is finished stays finished.
On a cluster the images and the output must be where every machine finds them.
"""

import importlib.util
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import psutil

from imagelab.errors import PredictionError, SettingsError
from imagelab.keras_startup import ONEDNN
from imagelab.prediction.job import Job
from imagelab.prediction.spark_stages import READ, WRITTEN, read_images, write_shards
from imagelab.processor import usable_cores
from imagelab.tracking import environment_with_package

PYSPARK = "pyspark==4.1.4"
OLDEST_JAVA = 17
MEMORY_A_TASK = 2 * 2**30  # bytes: TensorFlow, the network and its images
SHARDS_A_TASK = 50  # at most, so that a cluster has tasks to hand out
PAUSE = 0.5  # seconds between two counts of what is finished


def refuse_without_spark() -> None:
    """Make sure that there are PySpark and a Java that it can use.

    Raises:
        SettingsError: one is missing; says how to install it.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise SettingsError(
            f"engine=spark: PySpark is not installed: pip install {PYSPARK} (and Java {OLDEST_JAVA} or newer)"
        )
    version = java_version()
    if version is None or version < OLDEST_JAVA:
        found = "there is none" if version is None else f"this is Java {version}"
        raise SettingsError(
            f"engine=spark: Spark needs Java {OLDEST_JAVA} or newer, and {found}: "
            "apt-get install openjdk-17-jre-headless, or set JAVA_HOME"
        )


def java_version() -> int | None:
    """The number of the Java that Spark would start; None where there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None:
        return None
    with suppress(OSError, subprocess.TimeoutExpired):
        output = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False).stderr
        if match := re.search(r'version "(?:1\.)?(\d+)', output):
            return int(match[1])
    return None


def predict_on_spark(
    job: Job, numbers: Sequence[int], model: Path, master: str | None, advance: Callable[[int], None]
) -> None:
    """Make these shards.

    Args:
        model: the folder of the MLflow model.
        master: where Spark runs; None: here.
        advance: called with the number of images that are done since the last call.

    Raises:
        PredictionError: Spark failed, or a shard could not be written.
    """
    with ThreadPoolExecutor(1) as thread, failing_in_one_line(job), spark_session(job, master) as spark:
        done = job.images_in(job.shards.finished())
        written = thread.submit(plan(job, numbers, model, spark).collect)
        while not written.done():
            wait([written], timeout=PAUSE)
            before, done = done, job.images_in(job.shards.finished())
            advance(done - before)
        errors = [row.error for row in written.result() if row.error]
    if errors:
        raise job.shards.write_error(errors[0])
    if lost := job.missing():
        raise PredictionError(
            f"Spark has finished, but {len(lost):,} shards are not in {job.shards.folder}: every machine of the "
            "cluster must have that folder, and that of the images, under the same path"
        )


def plan(job: Job, numbers: Sequence[int], model: Path, spark: Any) -> Any:
    """What Spark is to do, as a table of the shards that it has written."""
    from pyspark.sql.functions import col, struct  # late, here and below: PySpark may be missing

    for chatty in ("mlflow.pyfunc", "mlflow.models.flavor_backend_registry"):  # they recommend other environments
        logging.getLogger(chatty).setLevel(logging.ERROR)
    params = {"top_k": job.top_k, "on_error": "report"}
    answer = mlflow.pyfunc.spark_udf(spark, str(model), answer_type(job), env_manager="local", params=params)
    tasks = max(spark.sparkContext.defaultParallelism, -(-len(numbers) // SHARDS_A_TASK))
    shards = spark.range(0, len(numbers), 1, min(tasks, len(numbers)))
    kind = "string" if job.source.is_text else "binary"
    images = shards.mapInArrow(partial(read_images, job, list(numbers)), READ.format(kind))
    answers = images.select("row", "error", answer(struct(col("image"))).alias("answer"))
    return answers.mapInArrow(partial(write_shards, job), WRITTEN)


def answer_type(job: Job) -> str:
    """The columns of the model's `report`, as Spark names types."""
    superclass = ["superclass string"] if job.has_superclass else []
    top = "top array<struct<label:string,probability:double>>"
    return ", ".join(["label string", "probability double", *superclass, top, "error string"])


@contextmanager
def failing_in_one_line(job: Job) -> Iterator[None]:
    """Turn an error into one line: the reason in the process that failed, and where the log is."""
    try:
        yield
    except Exception as error:
        lines = str(error).splitlines()
        reasons = [line.strip() for line in lines if re.match(r"\s*[\w.]*(Error|Exception): ", line)]
        reason = (reasons or [line for line in lines if line.strip()] or [type(error).__name__])[-1][:300]
        raise PredictionError(
            f"Spark failed ({reason}); its log is {job.shards.spark_log}, and its finished shards stay: "
            "the same command goes on"
        ) from error


@contextmanager
def spark_session(job: Job, master: str | None) -> Iterator[Any]:
    """A session whose Java writes its log to the folder of shards."""
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    conf = SparkConf().setAll(list(configuration(job, master).items()))
    if is_here(master):  # on a cluster Python may be elsewhere
        os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # not read from spark.pyspark.python in this way
    with job.shards.spark_log.open("ab") as log:
        # In a session of its own, so that Ctrl-C is for this process alone.
        gateway = launch_gateway(conf, {"stdout": log, "stderr": log, "start_new_session": True})
    try:
        handler = signal.getsignal(signal.SIGINT)
        context = SparkContext(gateway=gateway, conf=conf)
        signal.signal(signal.SIGINT, handler)  # Spark has put its own in place
        yield SparkSession(context)
        context.stop()
    finally:
        gateway.shutdown()  # Py4J sends no more: it would complain of Java's silence
        gateway.proc.kill()  # stopping would wait for the tasks
        gateway.proc.wait()
        SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None  # for another session


def configuration(job: Job, master: str | None) -> dict[str, str]:
    environment = {
        "PYTHONPATH": environment_with_package()["PYTHONPATH"],
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        ONEDNN: os.environ.get(ONEDNN, "1"),
        "TF_NUM_INTRAOP_THREADS": "1",  # Spark runs a task a core
        "TF_NUM_INTEROP_THREADS": "1",
    }
    here = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    return {
        "spark.app.name": "imagelab predict",
        "spark.master": master or f"local[{tasks_here()}]",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(job.source.rows_at_once(job.batch_size)),
        **{f"spark.executorEnv.{name}": value for name, value in environment.items()},
        **(here if is_here(master) else {}),
    }


def is_here(master: str | None) -> bool:
    return master is None or master.startswith("local")


def tasks_here() -> int:
    """Tasks at once: one a core, as far as memory allows."""
    return max(1, min(usable_cores(), psutil.virtual_memory().available // MEMORY_A_TASK))
