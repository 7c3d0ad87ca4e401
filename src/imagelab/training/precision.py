"""Which number format the layers compute in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def choose_dtype_policy(mixed_precision: str) -> str:
    """The Keras dtype policy for a setting; auto means bfloat16 where the hardware has it, else float32.

    Elsewhere bfloat16 is emulated, and slower than float32.
    """
    if mixed_precision != "auto":
        return POLICIES[mixed_precision]
    return "mixed_bfloat16" if has_native_bfloat16() else "float32"


@contextmanager
def under_policy(policy: str) -> Iterator[None]:
    """Layers made inside get this dtype policy; afterwards Keras's global one is as before."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def has_native_bfloat16() -> bool:
    """Whether the GPU (compute capability 8 or more), or without a GPU the processor, computes in bfloat16."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return bool(processor_bfloat16_features())
    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    return bool(capability[0] >= 8)


def processor_bfloat16_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """The processor's bfloat16 instruction sets, as Linux names them; empty elsewhere."""
    if not cpuinfo.exists():
        return []
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split()
    return [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
