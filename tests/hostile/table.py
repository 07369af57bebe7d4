"""All hostile files, in batches that one call of the command checks, and the batch that stands for all."""

from typing import NamedTuple

from .cheats import CHEATS
from .ends import ENDS
from .places import File
from .results import RESULTS
from .surroundings import SURROUNDINGS


class Batch(NamedTuple):
    """Files that lie in one folder, and share a call, a temporary folder and their neighbours."""

    name: str
    files: tuple[File, ...]


MOST = 20  # in a batch
THEMES = ENDS | RESULTS | SURROUNDINGS | CHEATS
FILES = [file for files in THEMES.values() for file in files]


def batches(theme: str, files: list[File]) -> list[Batch]:
    """The files of a theme, cut into equal parts."""
    parts = -(-len(files) // MOST)
    return [Batch(f"{theme}_{part + 1}", tuple(files[part::parts])) for part in range(parts)]


BATCHES = [batch for theme, files in THEMES.items() for batch in batches(theme, files)]
TELLING = (
    *("os_exit_in_import", "interrupt_in_vjp", "kill_40", "segfault_in_array", "loop_in_c", "daemon_deaf_to_signals"),
    *(
        "shared_memory_in_size_3",
        "much_on_stderr",
        "descriptors_written_to",
        "clock_raises",
        "beside_the_library",
        "mock_call",
    ),
    *("temporary_folder_removed", "list_of_itself", "always_equal", "text_raises", "judge_replaced", "result_forged"),
    *("frames_read_backwards", "bombs_in_folders_in_vjp", "mock_call"),
)
SAMPLE = Batch("sample", tuple(file for file in FILES if file.name in TELLING))
