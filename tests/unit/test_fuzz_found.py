"""All that `make fuzz` has found worth keeping, once more: its corpus, and the inputs that broke a rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.oracle import check, targets
from fuzz.seeds import CORPUS, FOUND, kept

KEPT = [*kept(CORPUS), *kept(FOUND)]
_MOST_BYTES, _MOST_BYTES_OF_ONE = 2 << 20, 64 << 10


@pytest.mark.timeout(60)
@pytest.mark.parametrize("target", sorted({target for target, _ in KEPT}))
def test_no_input_breaks_a_rule_again(target: str) -> None:
    for known, file in KEPT:
        if known == target:
            try:
                check(target, file.read_bytes())
            except Exception as error:
                pytest.fail(f"{file}: {type(error).__name__}: {error}")


def test_every_form_has_inputs_of_which_some_are_tables() -> None:
    read = {target for target, file in KEPT if check(target, file.read_bytes())}
    assert read == set(targets())


def test_the_corpus_is_small() -> None:
    sizes = [file.stat().st_size for _, file in KEPT]
    assert max(sizes) <= _MOST_BYTES_OF_ONE
    assert sum(sizes) <= _MOST_BYTES


def test_what_was_found_is_told(request: pytest.FixtureRequest) -> None:
    told = Path(request.config.rootpath, "tests/fuzz/README.md").read_text()
    assert [file.name for _, file in kept(FOUND) if f"`{file.parent.name}/{file.name}`" not in told] == []
