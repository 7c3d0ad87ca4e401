"""Temperature scaling: how sure a network is, mended by one number that is fitted on images it did not learn from.

Source: Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. Q. (2017). On calibration of modern neural networks. ICML,
arXiv:1706.04599, section 4.2.
"""

import numpy as np

COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are looked at
TINY = float(np.finfo(np.float32).tiny)  # the smallest probability that float32 tells from 0


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of log(p) / temperature, which is that of the logits: above 1 less sure, below 1 surer.

    The order of the classes of an image stays as it is, and so does every accuracy.

    Args:
        probabilities: (n, classes), each row adding up to 1.
    """
    logits = logits_at(temperature, probabilities)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    softened: np.ndarray = (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)
    return softened


def logits_at(temperature: float, probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities.astype(np.float64), TINY)) / temperature


def log_loss_at(temperature: float, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean of -log(probability of the truth) at a temperature.

    Args:
        labels: int64 (n,); probabilities: (n, classes).
    """
    logits = logits_at(temperature, probabilities)
    highest = logits.max(axis=1)
    total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return float((total - logits[np.arange(len(labels)), labels]).mean())


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature with the least log loss, from 0.05 to 20; the loss has one minimum only.

    Args:
        labels: int64 (n,); probabilities: (n, classes), of images that the network has not learned from.
    """
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        return log_loss_at(float(np.exp(logarithm)), labels, probabilities)

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-5}).x))
