"""What a run will be able to say, said before it: three kinds of data folder, and one with too little."""

from __future__ import annotations

from pathlib import Path

import pytest

from expertune.config import DataSection
from expertune.pipeline import preflight, prospect
from small_shop import CORPUS, FILES, PAIRS, qa, write_files

FEW = dict(list(PAIRS.items())[:5])


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (FILES, "There are 3 held-out questions (shop/test): the verdict will rest on them."),
        ({"qa.jsonl": qa()}, "the verdict will rest on your own 8"),
        ({"qa.jsonl": qa(FEW)}, "your own lead to 5 answers only, too few to judge by (6 are needed)"),
        ({"corpus.jsonl": CORPUS}, prospect.ONLY_ANSWERS),
        ({"faq.csv": "answer\nWe ship.\nPay by card.\n"}, prospect.ONLY_ANSWERS),
        ({"faq.csv": "Question,answer\n,We ship.\n,Pay by card.\n"}, prospect.ONLY_ANSWERS),
        ({"faq.csv": "question,text\nHow?,We ship.\n"}, ""),
        ({"faq.csv": ""}, ""),
        ({}, ""),
    ],
)
def test_the_data_decide_what_a_run_can_say(files: dict[str, str], said: str, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    write_files(folder, files)
    found = prospect.of_section(DataSection(path=str(folder)))
    assert said in found
    assert bool(found) is bool(said)
    assert preflight.check({"data": {"path": str(folder)}}).prospect == found


def test_a_run_prices_the_folds_only_where_it_makes_them(tmp_path: Path) -> None:
    def stages(files: dict[str, str], name: str) -> list[str]:
        folder = write_files(tmp_path / name, files)
        return [cost.stage for cost in preflight.check({"data": {"path": str(folder)}}).costs]

    assert "cross-validation" in stages({"qa.jsonl": qa()}, "own")
    assert "cross-validation" not in stages({"qa.jsonl": qa(FEW)}, "few")
    assert "cross-validation" not in stages(FILES, "judged")
