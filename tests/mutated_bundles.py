"""Mutate a bundle in many ways, verify each one, and print as JSON what came out; a program for its own process."""

from __future__ import annotations

import json
import random
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from bundles import members, rewrite

from clbench.core.errors import Refused
from clbench.submission.bundle_reader import read_bundle
from clbench.submission.rebuilt_streams import Rebuilt
from clbench.submission.verification import consistent

EXTREME = ["", "x" * 10_001, "\x1b[2J", "\u202e", None, -1, 2**63, 1e308, True, [], {}, [[[]]], {"name": "\x00"}]


def leaves(value, path=()):
    """Yield the paths of all entries in plain data."""
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in named:
        yield (*path, name)
        yield from leaves(inner, (*path, name))


def edited_json(content, draw):
    """Change, remove or add one entry of a JSON file."""
    data = json.loads(content)
    path = draw.choice(list(leaves(data)))
    place = data
    for name in path[:-1]:
        place = place[name]
    if draw.random() < 0.2:
        del place[path[-1]]
    else:
        place[path[-1]] = draw.choice(EXTREME)
    return json.dumps(data).encode()


def flipped(content, draw):
    changed = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        changed[draw.randrange(len(changed))] ^= draw.randint(1, 255)
    return bytes(changed)


def lying(content, draw):
    """Write an extreme number into a header of the zip file."""
    sign = draw.choice([b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"])
    starts = [at for at in range(len(content) - 3) if content[at : at + 4] == sign]
    at = draw.choice(starts) + draw.randint(4, 20 if sign == b"PK\x05\x06" else 44)
    number = struct.pack("<L", draw.choice([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, draw.getrandbits(32)]))
    width = draw.choice([1, 2, 4])
    return content[:at] + number[:width] + content[at + width :]


def mutated(path, whole, draw):
    """Write a mutated bundle, and return what was done."""
    files = members(whole)
    names = sorted(files)
    name, other = draw.choice(names), draw.choice(names)
    told = [each for each in names if each.endswith(".json")]
    kind = draw.choice(["flip", "cut", "lie", "swap", "edit", "edit rehashed", "inner flip", "drop", "add", "twice"])
    rehash = draw.random() < 0.5
    if kind in ("flip", "cut", "lie", "twice"):
        content = whole.read_bytes()
        cut = content[: draw.randrange(len(content))]
        made = {"flip": flipped, "lie": lying, "cut": lambda *_: cut, "twice": lambda *_: content + content}
        path.write_bytes(made[kind](content, draw))
        return kind
    if kind == "swap":
        files[name], files[other] = files[other], files[name]
        rehash &= "manifest.json" not in (name, other)
    elif kind.startswith("edit"):
        one = draw.choice(told)
        files[one] = edited_json(files[one], draw)
        rehash = kind == "edit rehashed" and one != "manifest.json"
    elif kind == "inner flip":
        files[name] = flipped(files[name], draw)
        rehash &= name != "manifest.json"
    elif kind == "drop":
        del files[name]
        rehash &= name != "manifest.json"
    else:
        files[draw.choice(["records/zz.json", "traces/0123456789abcdef.npz", "sources/a.py", "b.zip"])] = files[name]
    rewrite(path, files, rehash=rehash)
    return kind


def main(whole, count):
    """Verify mutated bundles, and print how many were refused, had problems, or say what the whole one says."""
    warnings.simplefilter("error")
    honest = read_bundle(whole)
    known = dict(honest.files)
    found, wrong, slowest, rebuilt = Counter(), [], 0.0, Rebuilt()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated.zip"
        for number in range(count):
            draw = random.Random(number)
            kind = mutated(path, whole, draw)
            began = time.perf_counter()
            try:
                read = read_bundle(path)
            except Refused as error:
                found["refused"] += 1
                sentences = [str(error)]
            else:
                sentences = read.problems
                found["named" if sentences else "consistent"] += 1
                if not sentences and read.files != known:
                    wrong.append(f"{number} {kind}: other content without a problem")
                checked = consistent(read, rebuilt)
                sentences = [*sentences, *(finding.sentence for finding in checked.findings), *checked.unchecked]
                if read.problems and checked.status != "self-reported":
                    wrong.append(f"{number} {kind}: {checked.status} in spite of {read.problems}")
            slowest = max(slowest, time.perf_counter() - began)
            wrong += [f"{number} {kind}: {each!r}" for each in sentences if not each.isprintable() or not each]
    # getrusage would count the memory of the process that started this one
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = 1024 * int(status.partition("VmHWM:")[2].split()[0])
    print(json.dumps({"found": found, "wrong": wrong, "slowest": slowest, "peak": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
