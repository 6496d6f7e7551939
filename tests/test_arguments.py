"""The command line of faithd guesses what was meant."""

from __future__ import annotations

import pytest

from faith.cli import serve


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--conifg", "x"], "unrecognized arguments: --conifg; is --config meant? (see faithd --h"),
        (["--conifg=x", "80"], "is --config meant?"),
        (["--via", "rout", "80"], "is route meant?"),
        (["--layout=rfc605", "80"], "is rfc6052 meant?"),
        (["--quux", "80"], "unrecognized arguments: --quux (see faithd --help)"),
        (["--limit", "sesions=3", "80"], "there is no such limit; is sessions meant?"),
        (["telnt"], "is telnet meant?"),
    ],
)
def test_a_mistake_gets_a_guess(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main(["-F", *words])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
