"""What a promotion, a rollback and a history say to a person."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imagelab.registry.event_log import Log
from imagelab.registry.registered_model import RegisteredModel
from imagelab.tables import Row

if TYPE_CHECKING:
    from imagelab.registry.version_scores import VersionScores

FIGURES = {
    "accuracy": ("accuracy", "{:.2%}"),
    "top_5_accuracy": ("top-5 accuracy", "{:.2%}"),
    "log_loss": ("log loss", "{:.4f}"),
    "latency_ms": ("latency of one image, ms", "{:.2f}"),
    "size_mb": ("size, MB", "{:.2f}"),
}


def comparison_rows(comparison: "VersionScores", versions: Sequence[str]) -> list[Row]:
    """The comparison as a table: a row a score, a column each for challenger and champion; `versions` names them."""
    challenger = asdict(comparison.challenger)
    champion = asdict(comparison.champion) if comparison.champion else {}
    rows = [dict(zip(("", "challenger", "champion"), ("version", *versions), strict=True))]
    for key, (label, form) in FIGURES.items():
        if challenger[key] is not None:
            old = champion.get(key)
            shown = "-" if old is None else form.format(old)
            rows.append({"": label, "challenger": form.format(challenger[key]), "champion": shown})
    if pairs := comparison.pairs:
        alone = (str(pairs.only_second), str(pairs.only_first))
        rows.append({"": "alone right, images", "challenger": alone[0], "champion": alone[1]})
        rows.append(
            {"": "McNemar, p of being worse", "challenger": f"{pairs.p_value('second is worse'):.3g}", "champion": ""}
        )
    return rows


def history_lines(log: Log, newest: int | None = None) -> list[str]:
    """An event a line, in order; the newest ones only if a number is given."""
    return [line_of(log, number) for number in log.numbers[-newest if newest else None :]]


def line_of(log: Log, number: int) -> str:
    event = log.event(number)
    by: dict[str, Any] = dict(event.by)
    who = "@".join(filter(None, (by.get("user"), by.get("host"))))
    said = [f"run {by['run_id']}"] if "run_id" in by else []
    said += [f"by {who}"] if who else []
    said += [f"commit {by['git_commit'][:10]}"] if "git_commit" in by else []
    said += ["not finished yet"] if number == log.number and not log.is_applied else []
    return f"{number:04d}  {event.time[:19].replace('T', ' ')} UTC  {event.kind}: {event.aliases}; {', '.join(said)}"


def history_text(model: RegisteredModel) -> str:
    """The whole history, once it is complete."""
    log = model.reconcile()
    return "\n".join([*history_lines(log), f"{model.name}: {log.aliases}"])
