"""The lists of referrers are made from public files."""

import json
from pathlib import Path

import pytest

from hitstream.refresh_lists import ListError, refresh

SHARED = Path(__file__).parents[3] / "shared" / "data" / "lists"


def write_source(folder: Path) -> Path:
    folder.mkdir()
    (folder / "SearchEngines.yml").write_text(
        "Finder:\n  -\n    urls:\n      - 'Finder.{}'\n    params:\n      - q\n      - '/s\\/([^\\/]+)/'\n"
        "    hiddenkeyword:\n      - '/'\n      - '/^$/'\n    charsets:\n      - EUC-KR\n"
        "    backlink: 's/{k}'\n"
        "Helper:\n  -\n    urls:\n      - www.helper.example\n    params: []\n"
    )
    (folder / "Socials.yml").write_text("Google%2B:\n  - plus.google.com\n")
    (folder / "AIAssistants.yml").write_text("Helper:\n  - helper.example\n")
    (folder / "spammers.txt").write_text("b.example\nA.example\n\n")
    return folder


def test_a_refresh_writes_our_own_form(tmp_path: Path) -> None:
    counts = refresh(write_source(tmp_path / "source"), tmp_path / "target")
    read = {name: json.loads((tmp_path / "target" / name).read_text()) for name in counts}
    assert read["search_engines.json"] == {
        "Finder": [
            {
                "hosts": ["finder.{}"],
                "parameters": ["q"],
                "paths": ["s/([^/]+)"],
                "hidden": ["=/", "~^$"],
                "charsets": ["euc-kr"],
                "backlink": "s/{k}",
            }
        ]
    }
    assert read["social_networks.json"] == {"Google+": ["plus.google.com"]}
    assert read["ai_assistants.json"] == {"Helper": ["helper.example"]}
    assert read["spam.json"] == ["a.example", "b.example"]


def test_a_source_of_another_form_is_refused_and_nothing_written(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    (source / "SearchEngines.yml").write_text("Finder:\n  - just text\n")
    with pytest.raises(ListError, match="Finder"):
        refresh(source, tmp_path / "target")
    (source / "SearchEngines.yml").unlink()
    with pytest.raises(ListError, match="missing"):
        refresh(source, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public lists are not beside the repository")
def test_the_lists_in_the_project_are_what_the_public_files_give(tmp_path: Path) -> None:
    refresh(SHARED, tmp_path)
    ours = Path(__file__).parents[2] / "rules" / "lists"
    for made in tmp_path.iterdir():
        assert made.read_text() == (ours / made.name).read_text(), made.name
