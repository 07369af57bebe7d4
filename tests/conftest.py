"""Profiles: `default` draws the same cases every time, `thorough` many new ones (`make thorough`)."""

import os
from pathlib import Path

import jax
from hypothesis import settings

settings.register_profile("default", derandomize=True, deadline=None, database=None, max_examples=50)
settings.register_profile(
    "thorough", derandomize=False, deadline=None, database=None, max_examples=1000, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Compiled programs are kept beside the checkout's virtual environment: a second run has little to compile.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
