"""What may be said of the numbers of an argument: "positive", "one-hot" …"""

import difflib
import re
from collections.abc import Mapping

KINDS: Mapping[str, str] = {
    "positive": "above 0, and with a reciprocal in the dtype",
    "non-negative": "0 or above",
    "non-zero": "not 0, and with a reciprocal square in the dtype",
    "one-hot": "one entry 1, the others 0",
    "distribution": "no entry below 0, and a sum of 1",
    "integers": "whole numbers",
    "real": "any number",
}
OF_ROWS: Mapping[str, str] = {**KINDS, "target": "of a cross-entropy"}


def one_of(value: object, names: Mapping[str, str], where: str) -> str:
    """The name that is meant, with any hyphens and capitals, or one clear line that begins with `where`.

    >>> one_of("One hot", KINDS, "domain")
    'one-hot'
    """
    plain = {_letters(name): name for name in names}
    if not isinstance(value, str) or _letters(value) not in plain:
        near = difflib.get_close_matches(str(value), names, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"{where}: expected one of {', '.join(names)}, got {value!r}{hint}")
    return plain[_letters(value)]


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())
