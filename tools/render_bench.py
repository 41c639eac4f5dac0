"""
Write the tables of benchmark results into README.md and docs/benchmarks.md.

``python -m tools.render_bench`` replaces what stands between ``<!-- bench:start -->`` and
``<!-- bench:end -->`` with tables made from bench/results/, of each benchmark its newest report;
``--check`` only tells whether they are current (status 1 if not).
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "bench" / "results"
START: Final = "<!-- bench:start -->"
END: Final = "<!-- bench:end -->"
PAGES: Final = (("README.md", False), ("docs/benchmarks.md", True))

Report = dict[str, Any]


def main() -> None:
    """Render every page that has the markers."""
    is_check = "--check" in sys.argv[1:]
    reports = newest(RESULTS)
    if not reports:
        raise SystemExit("bench/results/ holds no results; run `make bench`")
    stale: list[str] = []
    for name, is_detailed in PAGES:
        page = ROOT / name
        if not page.exists() or START not in page.read_text():
            continue
        before = page.read_text()
        after = replaced(before, rendered(reports, is_detailed=is_detailed))
        if after != before:
            stale.append(name)
            if not is_check:
                page.write_text(after)
    if is_check and stale:
        raise SystemExit(f"{', '.join(stale)}: run `python -m tools.render_bench`")


def newest(directory: Path) -> list[Report]:
    """Return the newest report of each benchmark, by name, with the file that it is from."""
    found: dict[str, Report] = {}
    for path in sorted(directory.glob("*.json")):
        for name, report in json.loads(path.read_text()).items():
            found[name] = {**report, "source": path.name}
    return [found[name] for name in sorted(found)]


def replaced(page: str, tables: str) -> str:
    """Return the page with new tables between its markers."""
    head, _, rest = page.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n{tables}\n{END}{tail}"


def rendered(reports: list[Report], *, is_detailed: bool) -> str:
    """Return the tables as Markdown: the ratios, and on the detailed page every arm."""
    parts = [_ratios(reports)]
    if is_detailed:
        parts += [_detail(report) for report in reports]
    shown = [report for report in reports if is_detailed or report["comparisons"]]
    by_source = {report["source"]: report for report in shown}
    parts += [_machine(report) for _, report in sorted(by_source.items())]
    return "\n\n".join(parts)


def _ratios(reports: list[Report]) -> str:
    lines = [
        "| Question | fsync | Ratio | Median | Rounds | Target |",
        "|--|--|--|--:|--|--|",
    ]
    for report in reports:
        for one in report["comparisons"]:
            target = ""
            if one["target"] is not None:
                sign = "≥" if one["at_least"] else "≤"
                target = f"{sign} {one['target']:g}" + ("" if one["holds"] else " (missed)")
            lines.append(
                f"| {report['question']} | {_fsync(report)} | {one['name']} | "
                f"{one['ratio']:.2f} × | {one['low']:.2f} to {one['high']:.2f} | {target} |"
            )
    return "\n".join(lines)


def _detail(report: Report) -> str:
    lines = [
        f"### {report['question']}",
        "",
        f"`{report['command_line']}`",
        "",
        "| Side | Median | Lowest | Highest | Unit |",
        "|--|--:|--:|--:|--|",
    ]
    lines += [
        f"| {arm['name']} | {_figure(arm['median'])} | {_figure(arm['low'])} | "
        f"{_figure(arm['high'])} | {arm['unit']} |"
        for arm in report["arms"]
    ]
    facts = [f"{name}: {value}" for name, value in report["facts"].items()]
    facts.append(f"from {report['source']}")
    return "\n".join([*lines, "", *[f"- {fact}" for fact in facts]])


def _machine(report: Report) -> str:
    machine = report["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"Measured on {machine['cpu_count']} cores and {machine['memory_gib']} GiB "
        f"({machine['system']}), Python {machine['python']}, SQLite {machine['sqlite']}, "
        f"PostgreSQL {machine['postgres']}, {packages} "
        f"(psycopg's {machine['psycopg_implementation']} implementation); fsync on, "
        f"PostgreSQL's and SQLite's own durability (synchronous_commit on, synchronous FULL). "
        f"From `bench/results/{report['source']}`, made by `make bench`."
    )


def _fsync(report: Report) -> str:
    floor = report["facts"].get("fsync floor (us)", 0)
    if floor:
        return f"≥ {floor:,} µs"
    return f"{report['facts'].get('fsync measured before (us)', '?')} µs"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
