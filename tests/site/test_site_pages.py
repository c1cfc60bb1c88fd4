"""The files of a site, read without a browser."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import synthetic

import clbench
from clbench import Refused
from clbench.site import write_site
from clbench.site.front_page import front_page
from clbench.site.pareto_picture import cost_points
from clbench.site.site_build import asset_files
from clbench.site.site_content import site_of
from clbench.site.site_templates import POLICY
from clbench.site.vendored_libraries import library_files
from clbench.site.verification_badges import folder_status
from clbench.submission.folder_reader import read_folders
from clbench.submission.statement import write_statement
from clbench.submission.verification import Verification, Verified

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onmouseover='x' \u202e\x1b[2J"


class Page(HTMLParser):
    """Collect the tags of a page with their attributes, and its text."""

    def __init__(self, text, folder=None):
        super().__init__()
        self.tags, self.text, self.folder = [], "", folder
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def links(self):
        return [value for _, own in self.tags for name, value in own.items() if name in ("href", "src", "srcset")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    extra = synthetic.record(HOSTILE, 0, synthetic.flat(0.4), settings=[{"name": HOSTILE, "parameters": {}}])
    other = [synthetic.record("er", seed, synthetic.flat(0.7), name="other") for seed in range(3)]
    return synthetic.folder(tmp_path_factory.mktemp("results") / "deep" / "res", *synthetic.matrix(), extra, *other)


@pytest.fixture(scope="module")
def site(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    write_site(results, out=folder)
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {
        path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8"), path.parent)
        for path in site.rglob("*.html")
    }


def test_equal_records_give_equal_files(results, site, tmp_path):
    write_site(results.parent, out=tmp_path / "again")  # the folder above them

    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert content(tmp_path / "again") == content(site)


def test_every_page_allows_only_scripts_styles_and_pictures_of_its_folder(pages):
    for name, page in pages.items():
        policies = [own["content"] for _, own in page.tags if own.get("http-equiv") == "Content-Security-Policy"]
        assert policies == [POLICY], name
        assert not [own for _, own in page.tags if "style" in own], name  # which the policy blocks


def test_no_text_of_a_record_becomes_a_tag_or_an_attribute(pages):
    shown = [page for page in pages.values() if "alert(2)" in page.text]
    assert len(shown) >= 3  # the front page, its benchmark and its row
    for name, page in pages.items():
        scripts = [own for tag, own in page.tags if tag == "script"]
        assert all(own.get("src") for own in scripts), name
        assert not [own for _, own in page.tags if any(key.startswith("on") for key in own)], name


def test_every_link_leads_to_a_file_of_the_site(pages, site):
    for name, page in pages.items():
        for link in page.links():
            path = link.partition("#")[0]
            assert re.fullmatch(r"[a-zA-Z0-9./_-]*", path), (name, link)
            assert not path or (page.folder / path).resolve().relative_to(site.resolve()), (name, link)
            assert not path or (page.folder / path).is_file(), (name, link)


def test_the_front_page_holds_every_row_of_every_benchmark_without_script(pages, results):
    made = clbench.board(results)
    rows = [(table.benchmark, row) for table in made.tables for row in table.rows]
    tags = [own for tag, own in pages["index.html"].tags if tag == "tr"]
    assert len(tags) == len(rows) + 1
    for name in (row.strategy for _, row in rows if "<" not in row.strategy):
        assert name in pages["index.html"].text


def test_the_points_on_the_pareto_front_are_those_that_no_other_dominates():
    def result(label, seed, acc, rows):
        made = synthetic.record(label, seed, synthetic.flat(acc))
        cost = {"stream_rows": rows, "replay_rows": 0, "extra_forward_rows": 0, "extra_backward_rows": 0}
        return clbench.Record(**{**vars(made), "cost": cost})

    found = {"cheap": (0.3, 10), "middle": (0.6, 20), "dear": (0.7, 100), "worse": (0.5, 20), "waste": (0.3, 50)}
    records = [result(label, seed, *own) for label, own in found.items() for seed in range(3)]
    table = site_of(records, title="t").benchmarks[0].table
    points = {point.row.label: point for point in cost_points(table)}
    assert {label for label, point in points.items() if point.on_front} == {"cheap", "middle", "dear"}
    assert points["middle"].cost == 2 * 20  # every sample is passed forward and backward
    np.testing.assert_allclose(points["dear"].score, 0.7)


def test_a_statement_beside_records_gives_the_status_of_these_records_alone(results, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(results, folder)
    assert folder_status(folder) == "self-reported"
    found = Verified("mine", read_folders(folder).digest, bundle=False, records=1, done=("consistent", "reproduced"))
    write_statement(Verification((found,), "reproduced"), folder / "verification.json")
    assert folder_status(folder) == "reproduced"
    next((folder / "records").glob("*.json")).unlink()
    assert folder_status(folder) == "self-reported"


@pytest.mark.parametrize("text", ['{"predicate": {"status": "reproduced"}}', "null", "[" * 100_000, "no json"])
def test_a_damaged_statement_beside_records_gives_no_status(results, tmp_path, text):
    folder = tmp_path / "mine"
    shutil.copytree(results, folder)
    (folder / "verification.json").write_text(text)
    assert folder_status(folder) == "self-reported"


def test_folders_without_results_are_left_out_and_named(results, tmp_path):
    (tmp_path / "README.md").write_text("no results")
    with pytest.warns(match=r"left out, because no results are in them: .*README.md"):
        made = write_site(results, tmp_path / "README.md", out=tmp_path / "site")
    assert (made.benchmarks, made.rows) == (2, 10)


def test_results_of_nobody_are_refused_and_nothing_is_written(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="holds no records"):
        write_site(tmp_path / "empty", out=tmp_path / "site")
    assert [path.name for path in Path(tmp_path).iterdir()] == ["empty"]


def test_the_front_page_with_its_scripts_stays_small_for_40_rows_on_8_benchmarks():
    labels = [f"er_ace(rows={k}) + ewc(strength={k})" for k in range(40)]
    records = [synthetic.record(label, seed, synthetic.flat(0.01 * k + 0.003 * seed)) for k, label in enumerate(labels)
               for seed in range(3)]  # fmt: skip
    one = site_of(records, title="Leaderboard")
    eight = [replace(one.benchmarks[0], slug=f"split-cifar10-online-{k}") for k in range(8)]
    files = dict(front_page(replace(one, benchmarks=tuple(eight))))
    files |= dict(asset_files()) | dict(library_files())
    assert files["index.html"].count(b"<th scope=row") == 320
    scripts = ["site.css", "site.js", "front.js", "lib/datatables/dataTables.min.js"]
    loaded = [
        own.get("src") or own["href"]
        for tag, own in Page(files["index.html"].decode()).tags
        if tag in ("script", "link")
    ]
    assert sorted(loaded) == sorted(scripts)
    assert sum(len(files[name]) for name in ("index.html", *scripts)) < 450_000


def test_the_front_page_counts_reference_seeds_and_further_ones_and_marks_what_was_verified():
    records = [synthetic.record(label, seed, synthetic.flat(0.5)) for label in ("er", "ewc", "si") for seed in range(5)]
    records += [synthetic.record("er", seed, synthetic.flat(0.5)) for seed in (5, 6)]
    records += [synthetic.record("naive", 0, synthetic.flat(0.5))]
    statuses = {record.key: "reproduced" for record in records if record.label == "er"}
    site = site_of(records, title="t", statuses=statuses)
    [page] = [content.decode() for path, content in front_page(site) if path == "index.html"]
    rows = {re.search(r"<th[^>]*><a[^>]*>([^<]*)", row)[1]: row for row in page.split("<tr>")[2:]}
    assert ">5/5 + 2<" in rows["er"]
    assert ">5/5<" in rows["ewc"]
    assert ">1/5<" in rows["naive"]
    assert '<span class="tag v2">reproduced</span>' in rows["er"]
    assert "tag v" not in rows["ewc"]


def test_a_budget_is_compared_with_costs_in_full():
    assert _cost_of({"memory_bytes": 1_000_001.0, "state_bytes": 2.0}) == "1000003"


def _cost_of(cost):
    record = synthetic.record("er", 0, synthetic.flat(0.5))
    site = site_of([replace(record, cost=record.cost | cost)], title="t")
    [page] = [content.decode() for path, content in front_page(site) if path == "index.html"]
    return re.search(r'data-order="(\d+)">1,000,003', page)[1]
