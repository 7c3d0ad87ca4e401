"""The gate, and what is written of its verdict: a table to read, artifacts of the run, tags of the version."""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from imagelab.console import show
from imagelab.errors import RegistryError
from imagelab.evaluation.significance import PairedOutcomes
from imagelab.registry.find_version import find_version
from imagelab.registry.gate import Bounds, objections
from imagelab.registry.registered_model import RegisteredModel
from imagelab.registry.report import comparison_rows
from imagelab.tables import rendered
from imagelab.tracking import Run

if TYPE_CHECKING:
    from imagelab.registry.version_scores import VersionScores

Compare: TypeAlias = "Callable[[str, str | None], VersionScores]"  # of a challenger with the champion, if there is one


def author_of(run: Run) -> dict[str, str]:
    """Who does it, as an event has it."""
    known = {"user": run.tags.get("mlflow.user"), "git_commit": run.tags.get("mlflow.source.git.commit")}
    return {"run_id": run.run_id, "host": platform.node(), **{key: value for key, value in known.items() if value}}


def pass_gate(
    model: RegisteredModel, version: str, champion: str | None, run: Run, bounds: Bounds, compare: Compare
) -> dict[str, str]:
    """Compare, show and write down; return what the version is to be tagged with if it becomes champion.

    Raises:
        RegistryError: the gate refuses it. It stays challenger.
    """
    comparison = compare(version, champion)
    reasons = objections(bounds, comparison.challenger, comparison.pairs)
    rows = comparison_rows(comparison, (version, champion or "-"))
    show(rendered(rows, f"{model.name} on {comparison.images:,} validation images"))
    facts = facts_of(comparison, champion, run) | {"verdict": "refused" if reasons else "promoted"}
    write_down(model, run, comparison, facts | {"reasons": "; ".join(reasons), "challenger": version}, bounds)
    if not reasons:
        return facts
    run.log_tags(verdict="refused")
    for key, value in facts.items():
        model.attempt(model.client.set_model_version_tag, model.name, version, key, value)
    raise RegistryError(f"{model.name} version {version} stays challenger: {'; '.join(reasons)}")


def facts_of(comparison: "VersionScores", champion: str | None, run: Run) -> dict[str, str]:
    """Everything about a comparison that fits on a tag."""
    facts = {
        "promotion_run": run.run_id,
        "compared_with": champion or "none",
        "compared_on": f"{comparison.images} validation images of {comparison.dataset_digest}",
        "accuracy": f"{comparison.challenger.accuracy:.2%}",
        "judged_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": run.tags.get("mlflow.source.git.commit", "unknown"),
    }
    return facts | ({"champion_accuracy": f"{comparison.champion.accuracy:.2%}"} if comparison.champion else {})


def mcnemar_record(pairs: PairedOutcomes) -> dict[str, float]:
    return {
        "images": pairs.images,
        "only_champion": pairs.only_first,
        "only_challenger": pairs.only_second,
        "improvement": pairs.improvement,
        "p": pairs.p_value("second is worse"),
    }


def write_down(
    model: RegisteredModel, run: Run, comparison: "VersionScores", facts: dict[str, str], bounds: Bounds
) -> None:
    """Log what it takes to check the verdict, and wait until the store has it: before anything moves."""
    import pandas as pd  # late: a promotion of what is champion already needs none

    champion = facts["compared_with"]
    trained_by = {
        version: found.run_id
        for version in (facts["challenger"], champion)
        if (found := find_version(model.client, model.name, version) if version != "none" else None)
    }
    test = mcnemar_record(comparison.pairs) if comparison.pairs else None
    scores = {"challenger": asdict(comparison.challenger)}
    scores |= {"champion": asdict(comparison.champion)} if comparison.champion else {}
    content = {"registered_model": model.name, **facts, "runs": trained_by, "dataset_digest": comparison.dataset_digest}
    whole = {**content, "scores": scores, "pairs": test, "bounds": asdict(bounds)}
    run.log_text("comparison.json", json.dumps(whole, indent=2))
    run.log_table("comparison.csv", pd.DataFrame(comparison_rows(comparison, (facts["challenger"], champion))))
    run.log_table("predictions.parquet", comparison.predictions)
    figures = {f"{role}_{key}": value for role, found in scores.items() for key, value in found.items()}
    run.log_metrics({key: value for key, value in figures.items() if value is not None})
    run.log_tags(champion=champion, dataset_digest=comparison.dataset_digest)
    run.flush()
