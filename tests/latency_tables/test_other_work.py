"""What other processes do is seen, waited for, and in the end refused."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from latency_tables import other_work
from latency_tables.contention import contention
from latency_tables.other_work import OtherWork
from latency_tables.pinning import pinned
from search_spaces.common.errors import UserError

SPIN = "print(1, flush=True)\nwhile True: pass"


def share_of(watch: OtherWork, seconds: float) -> float:
    watch.check()
    time.sleep(seconds)
    found = watch.check()
    assert found is not None
    return found


@pytest.mark.parametrize("on_purpose", [False, True])
def test_a_busy_process_is_seen_unless_it_was_started_on_purpose(on_purpose: bool) -> None:
    with contention(0) as own, subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) as spinner:
        try:
            assert spinner.stdout is not None
            spinner.stdout.readline()
            process = other_work.psutil.Process(spinner.pid)

            def with_spinner() -> float:
                return own() + sum(process.cpu_times()[:2])

            watch = OtherWork(0.1, 0.0, with_spinner if on_purpose else own)
            start, used = time.monotonic(), with_spinner() - own()
            share = share_of(watch, 1.0)
            used = (with_spinner() - own() - used) / (time.monotonic() - start) / watch.cores
            if not on_purpose:
                assert share > 0.7 * used > 0
            else:  # whatever else runs on this machine is counted too, the spinner is not
                both = OtherWork(0.1, 0.0, own)
                assert share < share_of(both, 1.0) - 0.5 * used + 0.3
        finally:
            spinner.kill()


def test_waiting_ends_when_the_work_does_and_in_an_error_when_it_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = iter([0.5, None, 0.4, 0.02])
    monkeypatch.setattr(OtherWork, "check", lambda self: next(shares))
    OtherWork(0.1, 10.0, cores=2).wait(kept="Nothing is lost.")
    assert "waiting: other processes keep 1.0 of 2 cores busy" in capsys.readouterr().err
    monkeypatch.setattr(OtherWork, "check", lambda self: 0.5)
    with pytest.raises(UserError, match=r"max_other_load: other processes keep 2\.0 of this machine's 4 cores.*7 kept"):
        OtherWork(0.1, 0.0, cores=4).wait(kept="7 kept.")


def test_nothing_is_watched_without_a_limit() -> None:
    watch = OtherWork(None, 0.0)
    watch.wait(kept="")
    assert watch.check() is None and watch.is_quiet(None)


def test_busy_processes_end_with_the_block() -> None:
    before = {child.pid for child in other_work.psutil.Process().children()}
    with contention(2) as own:
        started = {child.pid for child in other_work.psutil.Process().children()} - before
        first = own()
        time.sleep(0.5)
        assert len(started) == 2 and own() > first
    assert not {child.pid for child in other_work.psutil.Process().children()} & started


def test_threads_are_pinned_and_freed() -> None:
    os = pytest.importorskip("os")
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system cannot pin")
    before = os.sched_getaffinity(0)
    with pinned(1) as cores:
        assert os.sched_getaffinity(0) == (set(cores) or before) and len(os.sched_getaffinity(0)) == 1
    with pinned(1, wanted=False) as cores:
        assert cores == () and os.sched_getaffinity(0) == before
    with pinned(len(before)) as cores:
        assert cores == ()
    assert os.sched_getaffinity(0) == before
