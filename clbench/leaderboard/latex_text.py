"""Text for LaTeX: special characters are escaped, and widths are estimated as pdflatex would set them."""

from __future__ import annotations

import re
import unicodedata

ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "±": r"$\pm$", "—": "---", "–": "--", "−": "$-$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "→": r"$\rightarrow$", "←": r"$\leftarrow$", "≈": r"$\approx$", "≤": r"$\leq$",
    "≥": r"$\geq$", "×": r"$\times$", "·": r"$\cdot$", "∞": r"$\infty$", "…": r"\dots{}",
    "²": "$^2$", "³": "$^3$", "√": r"$\surd$",
    "\u200b": "{}",
    "’": "'", "‘": "`", "“": "``", "”": "''", "\u00a0": "~", "∇": r"$\nabla$", "Δ": r"$\Delta$", "∑": r"$\sum$",
    "⟨": r"$\langle$", "⟩": r"$\rangle$",
}  # fmt: skip
PICTURES = 0x2400
"""The picture of the first control character; those of the next 31 follow."""
GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho",
    "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma",
    "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip


def escaped(text: str) -> str:
    """Return a text that LaTeX prints as it is; a character that pdflatex does not know becomes ``[U+732B]``."""
    return "".join(map(_letter, re.sub(r"(?<=-)-", "\u200b-", " ".join(text.split()))))


def breakable(text: str, longest: int = 24) -> str:
    """Return a text as :func:`escaped` does. Words of more characters than ``longest`` may break after any of
    ``= , . / _ ( + @ : -``."""
    words = [
        "".join(
            _letter(letter) + r"\allowbreak{}" * (letter in "=,./_(+@:-" and 0 < place < len(word) - 1)
            for place, letter in enumerate(word)
        )
        if len(word) > longest
        else escaped(word)
        for word in text.split()
    ]
    return " ".join(words)


def _letter(letter: str) -> str:
    if letter in ESCAPES:
        return ESCAPES[letter]
    if letter in GREEK:
        return f"$\\{GREEK[letter]}$"
    if letter.isascii() or _is_accented(letter):
        return letter
    code = ord(letter)
    return f"[U+{code - PICTURES if PICTURES <= code < PICTURES + 32 else code:04X}]"


def _is_accented(letter: str) -> bool:
    """Return whether a letter is a Latin one that the fonts of pdflatex have: ``é``, but not ``ệ``."""
    return letter in "ßæøåÆØÅœŒłŁ" or (
        0xC0 <= ord(letter) < 0x180 and unicodedata.normalize("NFD", letter)[0].isascii()
    )


_GROUPS = {
    278: "il.,:;![]'|", 306: "fj", 333: "- ", 360: "_I", 389: "t()", 393: "rs", 444: "cez", 500: "ago0123456789/?`*↑↓",
    514: "J", 528: "kqvxy", 556: "bdhnpuS", 611: "Z", 625: "L", 653: "F", 681: "EP", 708: "B", 722: "wCT", 736: "R",
    750: "AHNUVXY", 764: "D", 778: "KOQ=+<>@&±≈≤≥×−", 785: "G", 833: "m%#", 917: "M", 1000: "—…→←∞", 1028: "W",
}  # fmt: skip
WIDTHS = {letter: units / 1000 for units, letters in _GROUPS.items() for letter in letters}
WIDTHS["\u00a0"] = WIDTHS[" "]
"""Widths in em of Computer Modern Roman at 10 points; smaller sizes have the same in an em that is a little wider."""
BOLD = 1.15
"""Width of bold letters and digits in widths of the others."""


def width(text: str, *, bold: bool = False) -> float:
    """Return the width of a text in em, as pdflatex sets it in its usual font; unknown letters count as wide ones."""
    return sum(WIDTHS.get(letter, 0.8) for letter in text) * (BOLD if bold else 1.0)
