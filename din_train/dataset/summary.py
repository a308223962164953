"""What a prepared data set holds, as a table on the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from din_train.dataset.manifest import Manifest


def build_preparation_table(manifest: Manifest) -> Table:
    """What became of every line, and what the data set holds."""
    table = Table("prepared data", "", show_header=False, title=f"prepared data, protocol {manifest.protocol}")
    table.columns[1].justify = "right"
    for report in manifest.read:
        table.add_row(escape(report.name), f"{report.lines:,} lines, {report.kept:,} kept")
        for reason, count in report.rejected.items():
            table.add_row(escape(f"  rejected: {reason}"), f"{count:,}")
        for what, count in report.skipped.items():
            table.add_row(escape(f"  left out: {what}"), f"{count:,}")
        for note, count in report.notes.items():
            table.add_row(escape(f"  noted: {note}"), f"{count:,}")
    _add_what_matched(table, manifest)
    for name, count in manifest.dropped.items():
        if count:
            table.add_row(f"dropped: {name.replace('_', ' ')}", f"{count:,}")
    counts = manifest.counts
    for name, count in counts.items():
        of = {"test_targets_in_their_history": "test_targets", "targets_in_their_history": "positives"}.get(name)
        share = f" ({count / counts[of]:.1%})" if of is not None and count else ""
        table.add_row(name.replace("_", " "), f"{count:,}{share}")
    for name, count in manifest.samples.items():
        positive = manifest.positives_share[name]
        table.add_row(f"samples: {name}", f"{count:,}" + ("" if positive is None else f" ({positive:.1%} positive)"))
    table.add_row("negatives", manifest.negatives)
    for name, value in describe_histories(manifest.histories):
        table.add_row(name, value)
    rate = manifest.unknown_rate_in_test
    table.add_row("unknown items among test targets", "no target" if rate is None else f"{rate:.2%}")
    lengths = "  ".join(f"{name} {value:g}" for name, value in manifest.history_length.items())
    table.add_row("history length", lengths)
    table.add_row("size on disk", f"{manifest.bytes / 1e6:,.1f} MB")
    if manifest.made is not None:
        seconds, memory = manifest.made.seconds, manifest.made.peak_memory_bytes
        table.add_row("time, peak memory", f"{seconds:.1f} s, {memory / 1e6:,.0f} MB")
    return table


def _add_what_matched(table: Table, manifest: Manifest) -> None:
    """The log's first and last moment, joins, what fields lack, and what else there is to say."""
    if manifest.time is not None:
        table.add_row("first moment", manifest.time.show(manifest.time.first))
        table.add_row("last moment", manifest.time.show(manifest.time.last))
    for join in manifest.joins:
        table.add_row(escape(f"{join.kind} of the log in {join.file}"), f"{join.found:,} of {join.size:,}")
    for name, values in manifest.field_values.items():
        if values.missing:
            table.add_row(escape(f"{values.kind} without {name}"), f"{values.missing:,} of {values.size:,}")
        if values.unread:
            what = escape(f"{name}: cannot be read, such as {values.example!r}")
            table.add_row(what, f"{values.unread:,} of {values.size - values.missing:,}")
        if values.mean is not None:
            table.add_row(
                escape(f"{name}: mean, standard deviation"), f"{values.mean:g}, {values.standard_deviation:g}"
            )
    for remark in manifest.remarks:
        table.add_row("note", escape(remark))


def describe_histories(histories: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the manifest says of ties (clicks) or of requests (impressions), a name and a value each."""
    if "ties" in histories:
        share = "" if histories["tied_share"] is None else f" ({histories['tied_share']:.1%})"
        touched = f"{histories['tied_targets']:,} targets{share}"
        doing = "in history by the file's order" if histories["ties"] == "file_order" else "left out of the history"
        yield f"events of the target's own time {doing}", touched
    if "requests" in histories:
        yield "requests", f"{histories['requests']:,}"
        if histories["requests"] and histories.get("requests_at_midnight") == histories["requests"]:
            yield "all times are whole days", "a request is a user's day"
    for key, what in _FAULTS_OF_HISTORIES.items():
        if histories.get(key):
            yield f"{what}: audit fails", f"{histories[key]:,}"


# Of rows that came with their histories: key of the manifest -> what is wrong.
_FAULTS_OF_HISTORIES = {
    "requests_of_several_histories": "requests whose rows have different histories",
    "rows_of_later_behaviours": "rows with a behaviour at or after their own time",
}
