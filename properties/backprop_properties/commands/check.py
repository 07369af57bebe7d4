"""The command `backprop check`."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..checking.defaults import DEFAULTS
from ..verification.names import completed
from . import check_options as o
from .console import complain, console, errors, fail
from .files import as_json, check_reports, real, why_not_written, write_json


def check(
    context: typer.Context,  # its object is a process that is ready for a check, or None
    files: Annotated[
        list[Path] | None, Argument(help="Python files with your functions.", metavar="[FILE.py…]", show_default=False)
    ] = None,
    commands: Annotated[
        list[str] | None,
        Option("--command", help="A program in any language that has them; may be given again.", metavar="COMMAND"),
    ] = None,
    validate: o.Validate = False,
    definitions: o.Definitions = None,
    operations: Annotated[
        list[str] | None,
        Option(
            "--operations",
            "--operation",
            help="Only these, separated by commas; `activation` means every activation[…].",
            metavar="NAMES",
            autocompletion=completed,
        ),
    ] = None,
    level: o.Level = "standard",
    dtype: o.Dtypes = None,
    domain: o.Rules = None,
    batch: o.Batch = None,
    batch_only: o.BatchOnly = False,
    may_write: o.MayWrite = None,
    waive: o.Waive = None,
    full: Annotated[bool, Option("--full", help="All that was found and tried, and Python to paste.")] = False,
    max_examples: o.Examples = DEFAULTS.examples,
    seed: o.Seed = DEFAULTS.seed,
    timeout: o.Timeout = 240,
    memory: o.Memory = 4096,
    jobs: o.Jobs = None,
    json_file: Annotated[
        str | None, Option("--json", help="Write the reports here; - is standard output.", metavar="FILE")
    ] = None,
    junit_file: Annotated[
        Path | None, Option("--junit", help="Write them here as JUnit XML, one test a law; or to -.", metavar="FILE")
    ] = None,
    html_file: Annotated[
        Path | None, Option("--html", help="Write them here as a page, with graphs and Jacobians.", metavar="FILE")
    ] = None,
) -> None:
    """Is your backward pass right? Checks the functions in a file of yours.

    They are found by name: softmax(x), softmax_vjp(delta, x), softmax_jacobian(x), activation_tanh_vjp(delta, W, x, b)
    and so on, in any number (`backprop list` shows all). Of any other operation, state the forward in jax.numpy:
    `layer_norm_definition = Definition(f, "(b,n),(n),(n)")` beside layer_norm and layer_norm_vjp. Each operation is
    checked in a process of its own: one that crashes, exits, hangs or eats memory has failed, and the rest goes on.

    \b
    A RULE of --domain says what numbers and sizes there are, or what to hold
    the functions to, beside what all are held to:
      y=one-hot            an argument's numbers, or delta's: positive,
                           non-negative, non-zero, one-hot, distribution,
                           integers, real, finite
      n="multiple of 8"    a size: 8, "at least 2", "at most n", even, odd,
                           "power of two"
      values=finite        no NaN in any argument; values=moderate: nor a
                           number beyond 30 in size, or below 0.001 but 0
      kinks                the derivative that JAX takes at a kink
      masks                logits of -inf count for nothing
      empty                sizes of 0
      aliasing             results in memory of their own
      infinities           what the definition gives at an infinite number
      threads              calls that bear another in the middle of them

    Exit code 0: all are right; 1: something is wrong, whatever else could not be checked; 2: nothing is wrong, but
    something could not be checked, or was asked for and skipped, the call was wrong, or a report could not be written,
    and one line says so; 130: interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.

    \b
    backprop check mine.py
    backprop check mine.py --operations softmax,add --dtype float32,float16
    backprop check kernels.py --domain y=one-hot --domain n="multiple of 8"
    backprop check kernels.py --definitions forwards.py --may-write logits
    backprop check --command "node mine.mjs" --validate
    """
    from .check_output import as_junit, print_notes, print_run, to_dict, write_junit, write_page

    paths = [real(file) for file in files or ()]
    json_path = Path(json_file) if json_file not in (None, "-") else None
    junit_path = junit_file if junit_file != Path("-") else None
    if not paths and not commands:
        raise fail("nothing to check: expected a file as mine.py, or --command './mine'")
    if json_file == "-" and junit_file == Path("-"):
        raise fail("--json - and --junit -: expected one of them on standard output, and a file for the other")
    try:
        check_reports({"--json": json_path, "--junit": junit_path, "--html": html_file}, paths)
    except (OSError, ValueError) as error:
        raise fail(error) from None
    try:
        done = o.checked(
            paths,
            commands or (),
            operations or (),
            validate=validate,
            definitions=definitions,
            level=level,
            dtype=dtype,
            domain=domain,
            batch=batch,
            batch_only=batch_only,
            may_write=may_write,
            waive=waive,
            max_examples=max_examples,
            seed=seed,
            timeout=timeout,
            memory=memory,
            jobs=jobs,
            pictures=html_file is not None,
            spare=context.obj,
        )
    except ValueError as error:
        raise fail(error) from None
    # Into files first: whoever reads the table may be gone.
    problems = [why_not_written(json_path, write_json, to_dict(done)), why_not_written(junit_path, write_junit, done)]
    problems.append(why_not_written(html_file, write_page, done))
    print_notes(done.notes, done.unusable)
    print_run(done, errors if "-" in (json_file, str(junit_file)) else console, full=full)
    if json_file == "-":
        print(as_json(to_dict(done)))
    if junit_file == Path("-"):
        print(as_junit(done))
    for problem in filter(None, problems):
        complain(problem)
    raise typer.Exit(2 if any(problems) else done.exit_code)
