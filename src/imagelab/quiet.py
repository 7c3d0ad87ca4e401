"""Starts Keras without the dozen lines that TensorFlow's C++ code writes before any log level applies."""

import os
import sys
import tempfile
import threading

starting = threading.Lock()  # two threads that redirect one descriptor would not find it again


def start_keras() -> None:
    """Import Keras and look for devices; what is written to standard error meanwhile is shown only if that fails."""
    with starting:
        import_keras()


def import_keras() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            import keras
            import tensorflow as tf

            keras.utils.disable_interactive_logging()
            tf.config.list_physical_devices()
        except BaseException:
            kept.seek(0)
            os.write(standard_error, kept.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
