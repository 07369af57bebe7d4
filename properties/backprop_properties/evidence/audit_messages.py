"""What an audit and the processes that run somebody's test say to each other."""

import msgspec

REFERENCE = "reference"  # the version that every test should accept


class Load(msgspec.Struct, array_like=True, tag="load"):
    """Find a test and the versions of an operation, of a format, in so many megabytes.

    The test, which may be none that `runs`, is `FILE.py::name`, the name of a practice, or pickled. The operation's
    definition is pickled, too, in the file `definitions`, or beside the test; `path` is where Python imports from.
    """

    operation: str
    dtype: str
    path: list[str]
    definition: bytes = b""
    test: str = ""
    pickled: bytes = b""
    definitions: str | None = None
    memory: int | None = None
    runs: bool = True


class Try(msgspec.Struct, array_like=True, tag="try"):
    """Run the test on a version, whose vjp returns in this form."""

    version: str
    form: int


class Show(msgspec.Struct, array_like=True, tag="show"):
    """Where is a version wrong? As `check` says it, at the first input found or at the smallest."""

    version: str
    smallest: bool


Question = Load | Try | Show


class Loaded(msgspec.Struct, array_like=True, tag="loaded"):
    """The operation's name; the name of each version with its kind, which is empty if it is right; the forms in which a
    vjp may return, in words; whether the versions are made for a definition, so that some may be right.
    """

    operation: str
    versions: list[tuple[str, str]]
    forms: list[str]
    made: bool


class Refused(msgspec.Struct, array_like=True, tag="refused"):
    """Why there is no test, or no versions, in a line."""

    message: str


class Tried(msgspec.Struct, array_like=True, tag="tried"):
    """Why the test rejects a version, or nothing; whether it was skipped."""

    said: str
    skipped: bool = False


class Shown(msgspec.Struct, array_like=True, tag="shown"):
    """What is wrong, and at which arguments (and cotangent), as a person reads them and as Python; or nothing."""

    message: str = ""
    at: dict[str, str] = {}
    code: list[str] = []


Answer = Loaded | Refused | Tried | Shown
