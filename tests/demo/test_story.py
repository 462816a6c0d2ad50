"""The demo command: the three runs it makes, how it stops, what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.__main__ import main, tell

ROOT = Path(__file__).resolve().parents[2]
URI = "mongodb://127.0.0.1:27018/?replicaSet=rs0"


@pytest.fixture
def wrapper(tmp_path: Path) -> Path:
    """A stand-in for spark-submit.sh: notes its call, ends with the next code in `codes`."""
    script = tmp_path / "stand-in.sh"
    script.write_text(
        "#!/bin/bash\n"
        'cd "$(dirname "$0")"\n'
        'echo "$MONGODB_URI | $*" >> calls\n'
        "read -r code < codes\n"
        "sed -i 1d codes\n"
        "exit $code\n"
    )
    script.chmod(0o755)
    return script


def test_the_story_is_verify_fix_verify_with_the_uri_in_the_environment(
    wrapper: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (wrapper.parent / "codes").write_text("3\n0\n0\n")
    report = wrapper.parent / "some where" / "report"
    assert tell(URI, report, wrapper) == 0
    assert (wrapper.parent / "calls").read_text().splitlines() == [
        f"{URI} | verify",
        f"{URI} | fix --apply --report {report} --html {report}/report.html",
        f"{URI} | verify",
    ]
    told = capfd.readouterr().out
    shown = f"--report '{report}' --html '{report}/report.html'"
    assert f"$ ./spark-submit.sh fix --apply {shown}\n" in told
    assert told.endswith(
        f"\n\nTo read in a browser: {report}/report.html\nThe report is in {report}\n"
    )


@pytest.mark.parametrize(
    ("codes", "clear_line"),
    [
        ("0\n", "demo: `./spark-submit.sh verify` ended with exit code 0, not 3\n"),
        (
            "3\n5\n",
            "demo: `./spark-submit.sh fix --apply --report r --html r/report.html` ended with "
            "exit code 5, not 0\n",
        ),
        ("3\n0\n3\n", "demo: `./spark-submit.sh verify` ended with exit code 3, not 0\n"),
    ],
)
def test_the_story_stops_at_the_first_unexpected_exit_code(
    wrapper: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    codes: str,
    clear_line: str,
) -> None:
    monkeypatch.chdir(wrapper.parent)
    (wrapper.parent / "codes").write_text(codes)
    assert tell(URI, Path("r"), wrapper) == 1
    assert capfd.readouterr().err == clear_line
    assert (wrapper.parent / "codes").read_text() == ""


@pytest.mark.parametrize("arguments", [["--sessions", "0"], ["--no-such-option"], ["extra"]])
def test_a_wrong_option_is_one_line_and_exit_2(
    capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(arguments) == 2
    told = capfd.readouterr().err
    assert told.startswith("demo: ")
    assert told.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_no_process_and_no_data(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "slow.sh").write_text("#!/bin/bash\nsleep 60 &\necho $$ $! > pids\nwait\n")
    (tmp_path / "slow.sh").chmod(0o755)
    program = (
        "import sys; from pathlib import Path; import demo.__main__ as d; "
        "d.tell.__defaults__ = (Path('slow.sh').resolve(),); "
        "sys.exit(d.main(['--sessions', '3', '--keep']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(data)},
    )
    pid_file = tmp_path / "pids"
    deadline = time.monotonic() + 30
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(30) == code
    for pid in pid_file.read_text().split():
        assert not is_running(pid)
    assert list(data.iterdir()) == []


def is_running(pid: str) -> bool:
    """False for a zombie too: it waits for its parent, it does nothing."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
