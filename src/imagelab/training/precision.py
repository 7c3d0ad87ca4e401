"""Which number format the layers compute in."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from imagelab.errors import SettingsError
from imagelab.processor import instruction_sets, is_faster_in_bfloat16

LIMIT = "ONEDNN_MAX_CPU_ISA"  # by which a user keeps oneDNN from instruction sets that the processor has
LIMITS_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
LIMITS_WITHOUT_FLOAT16 = (*LIMITS_WITHOUT_BFLOAT16, "AVX512_CORE_BF16")
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def choose_dtype_policy(mixed_precision: str) -> str:
    """The Keras dtype policy for a setting; auto means bfloat16 where the hardware is faster in it, else float32.

    Elsewhere it is emulated, or gains nothing.
    """
    if mixed_precision != "auto":
        return POLICIES[mixed_precision]
    return "mixed_bfloat16" if has_fast_bfloat16() else "float32"


def refuse_impossible(policy: str) -> None:
    """Say what would end the process without a word.

    Raises:
        SettingsError: the layers are to compute in a half format, and the user keeps oneDNN from it.
    """
    if is_kept_from(policy) and not tf.config.list_physical_devices("GPU"):
        given = policy.removeprefix("mixed_")
        raise SettingsError(
            f"mixed_precision={given}: {LIMIT}={os.environ[LIMIT]} keeps oneDNN from it; unset that, or take float32"
        )


@contextmanager
def under_policy(policy: str) -> Iterator[None]:
    """Layers made inside get this dtype policy; afterwards Keras's global one is as before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def has_fast_bfloat16() -> bool:
    """Whether the GPU (compute capability 8 or more), or without a GPU the processor, is faster in bfloat16."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        limit = os.environ.get(LIMIT, "").upper()
        with_amx = "AMX" in limit or limit in ("", "ALL", "DEFAULT")
        return is_faster_in_bfloat16(with_amx=with_amx) and not is_kept_from("mixed_bfloat16")
    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    return bool(capability[0] >= 8)


def is_kept_from(policy: str) -> bool:
    """Whether a limit takes from oneDNN what it computes a format with; it does not fall back, it ends the process.

    A processor without AVX512-FP16 converts float16, whatever the limit.
    """
    limit = os.environ.get(LIMIT, "").upper()
    if policy == "mixed_float16":
        return limit in LIMITS_WITHOUT_FLOAT16 and bool(instruction_sets("avx512_fp16"))
    return policy == "mixed_bfloat16" and limit in LIMITS_WITHOUT_BFLOAT16
