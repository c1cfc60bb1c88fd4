"""Bundles for tests: honest ones of made-up records, and ways to edit them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile

from synthetic import dipping, folder, record

from clbench.submission.bundle_writer import submit, zipped

CODE = {"engine": "e" * 16, "strategy": "a" * 16}


def made(label, seed, trace=None, **settings):
    """A record with digests of its code, on a benchmark that does not come with clbench."""
    trace = trace if trace is not None else dipping(sum(map(ord, label)) * 100 + seed, tasks=2, length=6)
    plain = record(label, seed, trace, **{"name": "mine", **settings})
    return dataclasses.replace(plain, code=CODE)


def results(path, labels=("er", "naive"), seeds=2, **settings):
    return folder(path, *(made(label, seed, **settings) for label in labels for seed in range(seeds)))


def bundle(path, *records):
    """Write a bundle of some records, or of honest ones, and return its path."""
    out = path / "bundle.zip"
    source = folder(path / "res", *records) if records else results(path / "res")
    submit(source, out=out, contact="ada@example.org", licence="MIT")
    return out


def members(path):
    """The files in a bundle: name -> content."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, files, *, rehash=False):
    """Write a bundle with other files, and with their sums in the manifest if ``rehash``."""
    if rehash:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {
            name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "manifest.json"
        }
        files = {**files, "manifest.json": json.dumps(manifest).encode()}
    path.write_bytes(zipped(files))
    return path


def with_manifest(path, **entries):
    """Change entries of the manifest of a bundle."""
    files = members(path)
    files["manifest.json"] = json.dumps({**json.loads(files["manifest.json"]), **entries}).encode()
    return rewrite(path, files)


def record_name(files):
    """The first record in a bundle."""
    return min(name for name in files if name.startswith("records/"))
