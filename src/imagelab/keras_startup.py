"""Starts Keras: with TensorFlow's fast kernels, and without the dozen lines that its C++ code writes."""

import os
import sys
import tempfile
import threading

# TensorFlow reads it when it is imported. By itself it computes with oneDNN only where the processor has AVX512 or AMX;
# with AVX2 alone these networks train a fifth to a third faster with it.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"

starting = threading.Lock()  # two threads that redirect one descriptor would not find it again


def prefer_fast_kernels() -> None:
    """Let TensorFlow, once it is imported, compute with oneDNN, unless the user has decided that."""
    os.environ.setdefault(ONEDNN, "1")


def are_kernels_fast() -> bool | None:
    """Whether TensorFlow, which was started, computes with oneDNN; None where this cannot be told."""
    try:  # no public name tells it
        from tensorflow.python.util import _pywrap_util_port

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return None


def start_keras() -> None:
    """Import Keras and look for devices; what is written to standard error meanwhile is shown only if that fails."""
    with starting:
        import_keras()


def import_keras() -> None:
    prefer_fast_kernels()
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # several processes can share a GPU
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the lines are written before any log level applies
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            import keras  # here, not at the top: both read the environment when they are imported
            import tensorflow as tf

            keras.utils.disable_interactive_logging()
            tf.config.list_physical_devices()
        except Exception:  # of an interruption, what TensorFlow has said meanwhile is of no use
            kept.seek(0)
            os.write(standard_error, kept.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
