"""Checks what `make train` has left: a FINISHED run on real Fashion-MNIST with 91 % test accuracy or more."""

from imagelab.tracking import use_tracking_store

FASHION_MNIST = "ece172613115fb18b120bec8f6c02271af90b8b8f0a5af5c51cbd5ceed68e619"


def main() -> None:
    """Look at the newest run; an AssertionError says what is wrong."""
    (run,) = use_tracking_store().search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=1)
    accuracy = run.data.metrics.get("test_accuracy", 0)
    assert run.info.status == "FINISHED", run.info.status
    assert run.data.tags["dataset_digest"] == FASHION_MNIST
    assert accuracy >= 0.91, accuracy
    print(f"the main job: run {run.info.run_id} FINISHED with test accuracy {accuracy:.2%}")


if __name__ == "__main__":
    main()
