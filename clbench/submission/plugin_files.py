"""Find the files with the author's own code for a bundle. The author's code is imported, as a run imports it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from clbench.core import registry
from clbench.core.errors import Refused
from clbench.core.identity import program_text
from clbench.core.identity.module_files import files_beside
from clbench.core.public_names import public
from clbench.core.user_files import found, searching
from clbench.submission.manifest import Plugin
from clbench.submission.plugin_sources import FILE, FOLDER, source_of

_ODD = re.compile(r"[^\w.-]")


def plugin_of(name: str, source: str, folders: Sequence[Path]) -> tuple[Plugin, dict[str, bytes]]:
    """Return the entry of a manifest for code that is not clbench's own, and the files that go with it.

    Args:
        name: What a cell calls the code.
        source: Its checksum in the cell.
        folders: Folders in which a file with a relative path is looked for, besides the current one.

    Raises:
        Refused: The file is not there or was edited since, or so was a module that it imports.
    """
    if FILE not in name:
        return Plugin(name=name, source=source), {}
    written = source.rpartition(" ")[2]
    own = written.partition("+")[0]
    path = _file(name, own, folders)
    place = f"{FOLDER}{own}/"
    files = {f"{place}{_ODD.sub('_', path.name)}": path.read_bytes()}
    plugin = Plugin(name=name, source=source, file=next(iter(files)))
    if "+" not in written:
        return plugin, files
    with searching(folders):
        modules = files_beside(registry.open_file(f"{path}:"))
    texts = {module: file.read_bytes() for module, file in modules.items()}
    if source_of(files[plugin.file], texts) != written:
        raise Refused(
            f"a module that {public(name)} imports was edited since its cells ran ({', '.join(sorted(texts))})"
        )
    names = {module: f"{place}modules/{_ODD.sub('_', module)}.py" for module in texts}
    files |= {names[module]: text for module, text in texts.items()}
    return plugin.model_copy(update={"modules": names}), files


def _file(name: str, own: str, folders: Sequence[Path]) -> Path:
    """Return the file of a name whose program has a checksum."""
    edited = None
    for path in _places(name, folders):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if program_text.digest(content) == own:
            return path
        edited = edited or path
    shown = public(name)
    if edited is not None:
        raise Refused(f"the program text of {shown} is not there: {edited} was edited since its cells ran")
    raise Refused(f"the program text of {shown} is not there: name its folder with --sources FOLDER")


def _places(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    path = Path(name.rpartition(":")[0])
    shorter = Path(str(path).partition(":")[2]) if ":" in str(path) else path  # without the scheme of an adapter
    for each in dict.fromkeys((path, shorter)):
        yield found(each)
        for folder in folders:
            yield folder / each
            yield folder / each.name
