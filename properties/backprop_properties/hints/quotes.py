"""The definition's text: which part of it a step of its program comes from."""

import linecache
from typing import Any

from backprop_oracle.program import Equation

LONGEST = 60  # characters of a definition that are quoted


def quoted(equation: Equation, f: Any) -> str:
    """The part of a definition that a step of its program comes from, or nothing where that is not known."""
    code = getattr(f, "__code__", None)
    for source in equation.source if code else ():
        codes, places = source.traceback.raw_frames() if source.traceback else ((), ())
        for frame, place in zip(codes, places, strict=True):
            if frame and code and frame.co_filename == code.co_filename:
                start, end, left, right = list(frame.co_positions())[place // 2]
                if start is None or left is None or right is None:
                    return ""
                line = linecache.getline(frame.co_filename, start)
                text = line.encode()[left:right].decode() if start == end else line.strip()
                return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
    return ""
