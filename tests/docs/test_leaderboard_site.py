"""The website of committed results: how it is made, and its picture in the README."""

import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageChops

ROOT = Path(__file__).parents[2]
PICTURE = "docs/pictures/site.png"


def dry(target):
    """Return the commands that make would run."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("target", ["leaderboard", "leaderboard-picture"])
def test_make_writes_the_site_of_all_baselines_into_a_folder_that_git_ignores_and_clean_removes(target):
    assert ".venv/bin/clbench site baselines -o docs/leaderboard\n" in dry(target)
    assert "/docs/leaderboard/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "docs/leaderboard" in dry("clean").split()


def test_the_picture_of_the_site_is_taken_from_the_site_into_the_file_that_the_readme_shows():
    command = dry("leaderboard-picture").replace("\\\n", " ")
    assert f"--screenshot={ROOT / PICTURE} " in command
    assert f'"file://{ROOT}/docs/leaderboard/index.html#benchmark=split-cifar10-online-3"' in command
    assert f"({PICTURE})" in (ROOT / "README.md").read_text()


def test_the_picture_of_the_site_is_below_200_kb_and_shows_a_page():
    assert (ROOT / PICTURE).stat().st_size < 200_000
    with Image.open(ROOT / PICTURE) as picture:
        assert picture.format == "PNG"
        assert picture.size == (1400, 860)
        grey = picture.convert("L")
        white = Image.new("L", grey.size, 255)
        left, top, right, bottom = ImageChops.difference(grey, white).getbbox()
    assert (right - left, bottom - top) > (1200, 800)  # text and lines from edge to edge, no error page


def test_the_docs_take_the_site_along_after_their_own_links_are_checked():
    """The pages of the site have states in their addresses (``#benchmark=...``), which are no places of a page."""
    remove, check, copy = (
        dry("docs").index(command)
        for command in ("rm -rf docs/_build/html/leaderboard", "check_site.py", "cp -R docs/leaderboard")
    )
    assert remove < check < copy
