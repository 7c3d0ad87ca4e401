"""The gate, with everything that is left behind of it: a table to read, a run to audit, tags on the version."""

import platform
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from imagelab.console import show
from imagelab.errors import RegistryError
from imagelab.registry.aliases import RegisteredModel
from imagelab.registry.gate import Bounds, objections
from imagelab.registry.report import comparison_rows, rendered
from imagelab.registry.versions import find_version
from imagelab.tracking import Audit

if TYPE_CHECKING:
    from imagelab.registry.scoring import Comparison

Compare: TypeAlias = "Callable[[str, str | None], Comparison]"  # of a challenger with the champion, if there is one


def who(audit: Audit) -> dict[str, str]:
    """Who does it, as an event has it."""
    known = {"user": audit.tags.get("mlflow.user"), "git_commit": audit.tags.get("mlflow.source.git.commit")}
    return {"run_id": audit.run_id, "host": platform.node(), **{key: value for key, value in known.items() if value}}


def pass_gate(
    model: RegisteredModel, version: str, champion: str | None, audit: Audit, bounds: Bounds, compare: Compare
) -> dict[str, str]:
    """Compare, show and write down; return what the version is to be tagged with if it becomes champion.

    Raises:
        RegistryError: the gate refuses it. It stays challenger.
    """
    comparison = compare(version, champion)
    reasons = objections(bounds, comparison.challenger, comparison.pairs)
    rows = comparison_rows(comparison, (version, champion or "-"))
    show(rendered(rows, f"{model.name} on {comparison.images:,} validation images"))
    facts = facts_of(comparison, champion, audit) | {"verdict": "refused" if reasons else "promoted"}
    write_down(model, audit, comparison, facts | {"reasons": "; ".join(reasons), "challenger": version}, bounds)
    if not reasons:
        return facts
    audit.log_tags(verdict="refused")
    for key, value in facts.items():
        model.attempt(model.client.set_model_version_tag, model.name, version, key, value)
    raise RegistryError(f"{model.name} version {version} stays challenger: {'; '.join(reasons)}")


def facts_of(comparison: "Comparison", champion: str | None, audit: Audit) -> dict[str, str]:
    """Everything about a comparison that fits on a tag."""
    facts = {
        "promotion_run": audit.run_id,
        "compared_with": champion or "none",
        "compared_on": f"{comparison.images} validation images of {comparison.dataset_digest}",
        "accuracy": f"{comparison.challenger.accuracy:.2%}",
        "judged_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": audit.tags.get("mlflow.source.git.commit", "unknown"),
    }
    return facts | ({"champion_accuracy": f"{comparison.champion.accuracy:.2%}"} if comparison.champion else {})


def write_down(
    model: RegisteredModel, audit: Audit, comparison: "Comparison", facts: dict[str, str], bounds: Bounds
) -> None:
    """Leave in the run what it takes to check the verdict: before anything moves."""
    import pandas as pd

    champion = facts["compared_with"]
    runs = {
        version: found.run_id
        for version in (facts["challenger"], champion)
        if (found := find_version(model.client, model.name, version) if version != "none" else None)
    }
    pairs = comparison.pairs
    test = {**asdict(pairs), "improvement": pairs.improvement, "p": pairs.worse_by_chance} if pairs else None
    scores = {"challenger": asdict(comparison.challenger)}
    scores |= {"champion": asdict(comparison.champion)} if comparison.champion else {}
    content = {"registered_model": model.name, **facts, "runs": runs, "dataset_digest": comparison.dataset_digest}
    audit.log_json("comparison.json", {**content, "scores": scores, "pairs": test, "bounds": asdict(bounds)})
    audit.log_table("comparison.csv", pd.DataFrame(comparison_rows(comparison, (facts["challenger"], champion))))
    audit.log_table("predictions.parquet", comparison.predictions)
    figures = {f"{role}_{key}": value for role, found in scores.items() for key, value in found.items()}
    audit.log_metrics({key: value for key, value in figures.items() if value is not None})
    audit.log_tags(champion=champion, dataset_digest=comparison.dataset_digest)
