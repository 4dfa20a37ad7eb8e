"""The command line: `python -m benchmarks.peer [--short] [--only a,b] [--repeats N] [--output FILE] [--again]`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.peer.environment import PeerUnavailable, ensure_peer, peer_versions
from benchmarks.peer.item import Item, Options
from benchmarks.peer.items import all_items
from benchmarks.peer.machine import machine_facts
from benchmarks.peer.process import ROOT, WorkerError
from benchmarks.peer.report import markdown
from benchmarks.peer.results import has_result, merge, read_results, same_machine, save
from benchmarks.peer.run import run_item
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_text

VENV = ROOT / "build" / "peer" / "venv"
FULL, SHORT = ROOT / "benchmarks" / "results" / "peer.json", ROOT / "build" / "peer" / "short.json"


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen items; exit code 0, 1 if one failed, 2 for a mistake, 3 if the peer cannot be installed."""
    chosen = _parse(arguments)
    options = Options(short=chosen.short, repeats=chosen.repeats, threads=chosen.threads, data=_data_folder())
    try:
        items = select(all_items(options), chosen.only)
        if chosen.list:
            for item in items:
                print(f"{item.key:22} {item.minutes:5.1f} min  {item.title}")
            return 0
        peer_python = ensure_peer(chosen.venv)
        failed = _run(items, options, chosen, peer_python)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except PeerUnavailable as error:
        print(f"the peer cannot be installed: {error}", file=sys.stderr)
        return 3
    return 1 if failed else 0


def _run(items: list[Item], options: Options, chosen: argparse.Namespace, peer_python: Path) -> list[str]:
    output = chosen.output or (SHORT if options.short else FULL)
    results, machine = read_results(output), machine_facts()
    if not same_machine(results, machine):
        message = "holds results of another machine or other versions"
        raise UserError(message, file=output, hint="Choose another --output")
    results |= {"machine": machine, "peer": peer_versions(peer_python)}
    failed: list[str] = []
    for item in items:
        if has_result(results, item.key, short=options.short) and not chosen.again:
            _say(f"{item.key}: kept (--again measures it anew)")
            continue
        merge(results, item.key, _entry(item, options, peer_python, failed))
        save(results, output)
        write_text(output.with_suffix(".md"), markdown(results))
    print(markdown(results))
    _say(f"written: {output} and {output.with_suffix('.md')}")
    return failed


def _entry(item: Item, options: Options, peer_python: Path, failed: list[str]) -> dict[str, Any]:
    if item.needs_data and options.data is None:
        reason = "skipped: needs the published tables and predictor, in the folder OFA_BENCH_DATA"
        _say(f"{item.key}: {reason}")
        return {"title": item.title, "short": options.short, "skipped": reason}
    _say(f"{item.key}: {item.title}")
    try:
        return run_item(item, options, peer_python=peer_python, logs=ROOT / "build" / "peer" / "logs", say=_say)
    except WorkerError as error:
        failed.append(item.key)
        _say(f"{item.key} failed: {error}")
        return {"title": item.title, "short": options.short, "failed": str(error)}


def select(items: list[Item], only: str | None) -> list[Item]:
    """Those named by `only`: letters (`a,d`) or whole keys (`b-extract`)."""
    if only is None:
        return items
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if not any(name in (item.letter, item.key) for item in items)]
    if unknown or not names:
        known = ", ".join([*sorted({item.letter for item in items}), *(item.key for item in items)])
        raise UserError(f"there is no item {', '.join(unknown)}", key="--only", value=only, hint=f"Known: {known}")
    return [item for item in items if item.letter in names or item.key in names]


def _data_folder() -> str | None:
    folder = Path(os.environ.get("OFA_BENCH_DATA") or ROOT.parent / "shared" / "data")
    return str(folder.resolve()) if (folder / "published").is_dir() else None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.peer", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small sizes, few repetitions: minutes, and no claims")
    parser.add_argument("--only", metavar="A,B", help="letters (a to e) or items (see --list), comma separated")
    parser.add_argument("--repeats", type=int, help="repetitions of every item instead of its own number")
    parser.add_argument("--threads", type=int, default=2, help="threads on both sides (default 2)")
    parser.add_argument("--output", type=Path, help=f"results as JSON; Markdown beside it (default {FULL})")
    parser.add_argument("--again", action="store_true", help="measure items anew that the output holds already")
    parser.add_argument("--venv", type=Path, default=VENV, help="where the peer is installed")
    parser.add_argument("--list", action="store_true", help="list the items and what they take")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
