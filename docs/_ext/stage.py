"""Write the source tree of the docs site: pages of the repository, and pages that are made from the code.

    python docs/_ext/stage.py docs/_build/source

Pages of ``docs/`` come to the root of the site, those of ``baselines/`` into a folder of that name. Links between
pages are changed to where the pages are on the site. A linked file of the repository that is not a page becomes one.
Files that are already there with the same content are left as they are, so that Sphinx reads only what has changed.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).parent))

import hook_pages
import named_pages

ROOT = Path(__file__).parents[2]
TOP = {"README.md": "readme.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages at the root of the repository, and what they are called on the site."""
TITLES = {PurePosixPath("README.md"): "# Install and first run\n"}
"""Pages that have another title on the site, where the start page has the name of the project."""
LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?=[)\s])")
FENCE = re.compile(r"^\s*(```|~~~)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".md": "text"}


def pages_of_the_repository(root: Path = ROOT) -> dict[PurePosixPath, PurePosixPath]:
    """Return the place in the repository of every page -> its place on the site."""
    found = {PurePosixPath(here): PurePosixPath(there) for here, there in TOP.items()}
    for folder in ("docs", "baselines"):
        for path in sorted((root / folder).rglob("*.md")):
            here = PurePosixPath(path.relative_to(root).as_posix())
            if "_build" not in here.parts:
                found[here] = PurePosixPath(*here.parts[1:]) if folder == "docs" else here
    return found


def staged(root: Path = ROOT) -> dict[PurePosixPath, str | bytes]:
    """Return the place on the site -> the content, of all pages and pictures."""
    pages = pages_of_the_repository(root)
    tree: dict[PurePosixPath, str | bytes] = {}
    for here, there in pages.items():
        text = (root / here).read_text(encoding="utf-8")
        shown = _with_links(text, here, there, pages, tree, root)
        if here.name == "index.md":
            shown = without_empty_pattern(
                shown, {each.stem for each in pages if each.parent == here.parent} - {"index"}
            )
        first = re.search(r"^#+ ", shown, flags=re.MULTILINE)
        if first is None or first[0] != "# ":
            shown = f"# {' / '.join(here.with_suffix('').parts[1:])}\n\n{shown}"
        if here in TITLES:
            shown = TITLES[here] + shown.partition("\n")[2]
        tree[there] = named_pages.ORPHAN + shown if len(here.parts) > 2 and here.parts[0] == "baselines" else shown
    for name, text in {**named_pages.pages(), **hook_pages.pages()}.items():
        tree[PurePosixPath(name)] = text
    for name, more in named_pages.additions().items():
        place = PurePosixPath(name)
        tree[place] = f"{str(tree[place]).rstrip()}\n\n{more}"
    return tree


def without_empty_pattern(text: str, names: set[str]) -> str:
    """Return a page without the line ``*`` of its table of contents if all pages of the folder are named before it."""
    return text if names - set(text.splitlines()) else text.replace("\n*\n", "\n")


def _with_links(
    text: str,
    here: PurePosixPath,
    there: PurePosixPath,
    pages: dict[PurePosixPath, PurePosixPath],
    tree: dict[PurePosixPath, str | bytes],
    root: Path,
) -> str:
    """Return a page with its links as they are on the site; what it links to besides pages is added to the tree."""

    def changed(found: re.Match[str]) -> str:
        target = found["target"]
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        place = PurePosixPath(os.path.normpath((here.parent / target).as_posix()))
        return f"{found['before']}{_relative(_place(place, pages, tree, root), there)}{found['anchor'] or ''}"

    inside, lines = False, []
    for line in text.split("\n"):
        if FENCE.match(line):
            inside = not inside
        lines.append(line if inside else LINK.sub(changed, line))
    return "\n".join(lines)


def _place(
    target: PurePosixPath,
    pages: dict[PurePosixPath, PurePosixPath],
    tree: dict[PurePosixPath, str | bytes],
    root: Path,
) -> PurePosixPath:
    """Return the place on the site of a page, a picture, or a file or folder, which becomes a page."""
    if target in pages:
        return pages[target]
    path = root / target
    if path.is_dir() and target / "README.md" in pages:
        return pages[target / "README.md"]
    if path.suffix in (".png", ".svg"):
        place = PurePosixPath(*target.parts[1:]) if target.parts[0] == "docs" else target
        tree[place] = path.read_bytes()
        return place
    place = PurePosixPath("files", f"{target}.md")
    if path.is_dir():
        names = sorted(f"{each.name}/" if each.is_dir() else each.name for each in path.iterdir())
        body = "\n".join(names)
    else:
        body = path.read_text(encoding="utf-8").rstrip("\n")
    language = LANGUAGES.get(path.suffix, "text")
    tree[place] = f"{named_pages.ORPHAN}# {target}\n\n````{language}\n{body}\n````\n"
    return place


def _relative(target: PurePosixPath, page: PurePosixPath) -> str:
    return os.path.relpath(target.as_posix(), page.parent.as_posix())


def write(tree: dict[PurePosixPath, str | bytes], out: Path) -> int:
    """Write what has changed, and remove what is no longer there; return how many files were written."""
    written = 0
    for place, content in tree.items():
        path, data = out / place, content if isinstance(content, bytes) else content.encode()
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            written += 1
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_file() and PurePosixPath(path.relative_to(out).as_posix()) not in tree:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            shutil.rmtree(path)
    return written


if __name__ == "__main__":
    files = staged()
    print(f"{len(files)} pages and pictures, {write(files, Path(sys.argv[1]))} of them changed")
