"""Check the built site: search answers, nothing is fetched from a network, no link to a page is dead.

python docs/_ext/check_site.py docs/_build/html
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

from sphinx.search.en import SearchEnglish

QUESTIONS = {
    "confusion matrix": "plots",
    "SLURM": "scale",
    "save weights": "faq",
    "cite": "readme",
    "own data": "data",
    "learning rate": "tutorials/tune",
    "stability gap": "readme",
}
"""What a reader may search for -> a page that must be among those found."""


class SearchIndex:
    """Find pages as the search of the site does: all words of a question, in stems, in text or title.

    Args:
        folder: The folder of the site.
    """

    def __init__(self, folder: Path) -> None:
        text = (folder / "searchindex.js").read_text(encoding="utf-8")
        self._index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
        self._language = SearchEnglish({})

    def find(self, question: str) -> set[str]:
        """Return the names of the pages that contain all words."""
        found: set[str] | None = None
        for word in self._language.split(question):
            if word.lower() in self._language.stopwords:  # the search of the site leaves them out too
                continue
            stem = self._language.stem(word.lower())
            numbers: set[int] = set()
            for table in ("terms", "titleterms"):
                places = self._index[table].get(stem, [])
                numbers |= {places} if isinstance(places, int) else set(places)
            pages = {self._index["docnames"][number] for number in numbers}
            found = pages if found is None else found & pages
        return found or set()


class Resources(HTMLParser):
    """Collect what a page loads, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the sources of one element."""
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") != "canonical" and given.get("href"):
            self.loaded.append(given["href"])
        if tag == "a" and given.get("href"):
            self.linked.append(given["href"])


def problems(folder: Path) -> Iterator[str]:
    """Find what is wrong with a site; yield a sentence for each problem."""
    index = SearchIndex(folder)
    for question, page in QUESTIONS.items():
        if page not in index.find(question):
            yield f"a search for {question!r} does not find the page {page}"
    read: dict[Path, Resources] = {}
    for path in sorted(folder.rglob("*.html")):
        read[path] = Resources()
        read[path].feed(path.read_text(encoding="utf-8"))
    for path, found in read.items():
        here = path.relative_to(folder)
        for source in found.loaded:
            if re.match(r"(https?:)?//", source):
                yield f"{here} loads {source} from a network"
        for link in found.linked:
            target, anchor = urldefrag(link)
            if re.match(r"\w+:|//", link):
                continue
            other = (path.parent / unquote(target)).resolve() if target else path
            if other.suffix == ".html" and other not in read:
                yield f"{here} links to {link}, which does not exist"
            elif anchor and other in read and unquote(anchor) not in read[other].names:
                yield f"{here} links to {link}, and that page has no such place"
    for path in sorted(folder.rglob("*.css")):
        if re.search(r"@import|url\([\"']?(https?:)?//", path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(folder)} loads something from a network"


if __name__ == "__main__":
    told = list(problems(Path(sys.argv[1]).resolve()))
    print("\n".join(told) or "search answers, links lead somewhere, and nothing is fetched")
    sys.exit(bool(told))
