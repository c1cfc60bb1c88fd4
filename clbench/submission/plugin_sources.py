"""Code of a cell that is not clbench's: which text belongs to it, found and compared without importing it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from clbench.core.identity import program_text
from clbench.core.record import Record
from clbench.submission.manifest import Manifest, Plugin
from clbench.submission.trusted_code import foreign_code

FILE = ".py:"
"""The mark of a name whose code is in a file."""
FOLDER = "sources/"


def foreign_names(record: Record) -> Iterator[tuple[str, str]]:
    """Yield name and checksum of all code of a record's cell that is not clbench's own.

    Raises:
        ValueError: The cell has another form than those that clbench writes.
    """
    try:
        found = [(code.name, code.source) for code in foreign_code(record.cell)]
    except Exception as error:  # a stranger wrote it
        raise ValueError(f"the cell of the record {record.key} cannot be read ({type(error).__name__})") from None
    yield from dict.fromkeys(each for each in found if any(each))


def source_of(text: bytes, modules: Mapping[str, bytes]) -> str:
    """Return the checksum of a file and of the program's modules that it imports, as cells hold it.

    Args:
        text: The content of the file.
        modules: Name of an imported module -> the content of its file.
    """
    own = program_text.digest(text)
    told = "\n".join(f"{name} {program_text.digest(content)}" for name, content in sorted(modules.items()))
    return f"{own}+{hashlib.sha256(told.encode()).hexdigest()[:16]}" if modules else own


def source_problems(records: Iterable[Record], manifest: Manifest, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the program texts of a bundle.

    Args:
        records: The records of the bundle.
        manifest: Its manifest.
        sources: Its program texts by their names below ``sources/``.
    """
    texts = {f"{FOLDER}{name}": text.encode() for name, text in sources.items()}
    known = {(plugin.name, plugin.source): plugin for plugin in manifest.plugins}
    wanted: set[tuple[str, str]] = set()
    for record in records:
        try:
            wanted.update(foreign_names(record))
        except ValueError as error:
            yield str(error)
    used: set[str] = set()
    for plugin in manifest.plugins:
        files = {plugin.file, *plugin.modules.values()} - {""}
        used |= files
        if (plugin.name, plugin.source) not in wanted:
            yield f"the manifest names code of {plugin.name}, which no record uses"
        elif not files <= set(texts):
            yield f"the bundle does not hold the program text of {plugin.name}"
        elif plugin.file:
            yield from _wrong_text(plugin, texts)
    for name, source in sorted(wanted):
        own = known.get((name, source))
        if own is None:
            yield f"records use code of {name} with checksum {source}, which the manifest does not name"
        elif FILE in name and not own.file:
            yield f"the manifest names no program text of {name}"
    for name in sorted(set(texts) - used):
        yield f"the bundle holds {name}, which belongs to no record"


def _wrong_text(plugin: Plugin, texts: Mapping[str, bytes]) -> Iterator[str]:
    modules = {name: texts[file] for name, file in plugin.modules.items()}
    if source_of(texts[plugin.file], modules) not in (plugin.source, plugin.source.rpartition(" ")[2]):
        yield f"{plugin.file} is not the code of {plugin.name} that its records name: the checksums differ"
