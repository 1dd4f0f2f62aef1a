"""Options of the embedded verbs: each has its own, and usage under the name that people type."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration import embedded


@pytest.mark.parametrize(
    ("argv", "typed"),
    [
        (("init", "--nope"), "init-data-layers"),
        (("init", "--deep"), "init-data-layers"),
        (("init", "--days", "3"), "init-data-layers"),
        (("verify", "--full-refresh"), "verify-data-layers"),
        (("prune", "--all"), "prune"),
        (("prune", "--days", "x"), "prune"),
        (("status", "--json"), "embedded status"),
    ],
)
def test_an_option_of_another_verb_is_refused(
    argv: tuple[str, ...],
    typed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        embedded.main(list(argv))
    assert ended.value.code == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"usage: {typed} [-h]")
    assert last.startswith(f"{typed}: error: ")
    assert not list(tmp_path.iterdir())  # nothing was made
