"""Progress is a bar on a terminal and a few lines in a log, and never touches stdout."""

import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from bench import progress as module
from bench.progress import bytes_progress, progress

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class TestLog:
    def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with progress("sam-micro on coco", total=120, unit="images") as advance:
            for _ in range(25):
                clock.now += 1
                advance(2)
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.splitlines() == [
            "sam-micro on coco: 20/120 images, 0:00:10, 2.0 images/s, 0:00:50 left",
            "sam-micro on coco: 40/120 images, 0:00:20, 2.0 images/s, 0:00:40 left",
            "sam-micro on coco: 50/120 images, 0:00:25, 2.0 images/s, 0:00:35 left",
        ]

    def test_what_an_earlier_session_did_counts_as_done_but_not_as_speed(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with progress("resumed", total=120, unit="images", done=100) as advance:
            clock.now += 100
            advance(5)
        assert capsys.readouterr().err.splitlines()[-1] == (
            "resumed: 105/120 images, 0:01:40, 3.0 images/min, 0:05:00 left"
        )

    def test_bytes_are_shown_as_megabytes_from_the_first_that_come(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with bytes_progress("val2017.zip", None) as advance:
            clock.now += 100
            advance(300_400_000, 815_600_000)  # of an earlier session
            clock.now += 10
            advance(400_300_000, 815_600_000)
        assert capsys.readouterr().err.splitlines()[0] == ("val2017.zip: 400/815 MB, 0:00:10, 10.0 MB/s, 0:00:42 left")
        with bytes_progress("small.json", 1000) as advance:
            advance(1000, 1000)
        assert capsys.readouterr().err == ""

    def test_an_unknown_total_has_no_end_in_sight(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        with progress("stream", total=None) as advance:
            clock.now += 4
            advance(2)
        assert capsys.readouterr().err == "stream: 2/? items, 0:00:04, 0.5 items/s\n"

    def test_a_block_that_fails_still_says_how_far_it_came(
        self, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(KeyboardInterrupt), progress("stopped", total=3):
            raise KeyboardInterrupt
        assert capsys.readouterr().err == "stopped: 0/3 items, 0:00:00\n"

    def test_threads_lose_no_count(self, capsys: pytest.CaptureFixture[str]) -> None:
        switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with progress("threads", total=8000) as advance:
                threads = [threading.Thread(target=lambda: [advance(1) for _ in range(1000)]) for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        finally:
            sys.setswitchinterval(switch)
        assert capsys.readouterr().err.startswith("threads: 8000/8000 items")


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
class TestTerminal:
    def on_terminal(self, code: str) -> tuple[str, str]:
        """Run `code` with stderr on a terminal and stdout in a pipe; return what each got."""
        import pty

        master, slave = pty.openpty()
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
        command = [sys.executable, "-c", "from bench.progress import progress\n" + code]
        with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=slave) as child:
            os.close(slave)
            screen = b""
            with suppress(OSError):  # Linux says EIO where others say end of file
                while piece := os.read(master, 65536):
                    screen += piece
            os.close(master)
            assert child.stdout is not None
            out = child.stdout.read().decode()
        assert child.returncode == 0
        return out, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.decode())

    def test_a_terminal_gets_a_bar_and_results_still_go_to_stdout(self) -> None:
        out, screen = self.on_terminal(
            "with progress('sam [micro]', total=4, unit='images') as advance:\n"
            "    for _ in range(4): advance(1)\n"
            "    print('a result')\n"
        )
        assert out == "a result\n"
        assert re.search(r"sam \[micro\] ━+ 4/4 0:00:\d\d 0:00:\d\d .*images/", screen)

    def test_bars_that_overlap_share_the_screen(self) -> None:
        _, screen = self.on_terminal(
            "with progress('outer', total=2) as outer, progress('inner', total=3) as inner:\n"
            "    outer(2); inner(3)\n"
            "with progress('later', total=1) as advance: advance(1)\n"
        )
        assert all(re.search(line, screen) for line in (r"outer ━+ 2/2", r"inner ━+ 3/3", r"later ━+ 1/1"))
