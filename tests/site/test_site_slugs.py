import re

from hypothesis import given
from hypothesis import strategies as st

from clbench.site.site_slugs import slugs


def test_a_name_becomes_small_letters_digits_and_hyphens():
    assert slugs(["er(loss=sum) + ewc(strength=1)"]) == {"er(loss=sum) + ewc(strength=1)": "er-loss-sum-ewc-strength-1"}


def test_names_that_would_share_a_file_get_checksums_and_others_do_not():
    made = slugs(["er_ace", "er-ace", "er"])
    assert made["er"] == "er"
    assert made["er_ace"] != made["er-ace"]
    assert all(re.fullmatch(r"er-ace-[0-9a-f]{8}", made[name]) for name in ("er_ace", "er-ace"))


def test_names_of_devices_and_empty_names_are_no_file_names():
    made = slugs(["CON", "nul", "../..", "", "метод"])
    assert not {"con", "nul", "", ".."} & set(made.values())
    assert len(set(made.values())) == 5


@given(st.lists(st.text(max_size=90), unique=True, max_size=12))
def test_file_names_are_unique_and_safe_for_any_text(names):
    made = slugs(names)
    assert len(set(made.values())) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,78}[a-z0-9])?", slug) for slug in made.values())
