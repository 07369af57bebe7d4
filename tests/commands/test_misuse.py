"""Two hundred ways and more to call it wrongly: each is told in one clear line, and none by a traceback of ours."""

import re
import shlex
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import backprop_properties
from backprop_oracle import certified
from backprop_properties.commands.app import app
from backprop_reference import softmax
from samples import sampled


def sv(delta: Any, x: Any) -> Any:
    return delta * x


def fwd(x: Any) -> Any:
    return x * x


NAMES = {name: getattr(backprop_properties, name) for name in backprop_properties.__all__}
NAMES |= {"sv": sv, "fwd": fwd, "softmax": softmax, "certified": certified, "jnp": jnp, "np": np}
FILES = {
    "FILE": b"def softmax(x):\n    return x\n",
    "EMPTY": b"",
    "BROKEN": b"def f(:\n",
    "RAISES": b"1 / 0\n",
    "NULL": b"x = 1\0\n",
    "LATIN": b"x = '\xe9'\n",
    "DATA": bytes(range(256)),
}

COMMANDS: list[tuple[str, str]] = [  # a call of the command, and what it says; its exit code is 2
    ("shw", "No such command 'shw'"),
    ("show", "expected a name"),
    ("show sofmax", "unknown operation 'sofmax'; did you mean"),
    ("show a b", "unexpected extra argument"),
    ("show ''", "unknown operation"),
    ("list extra", "unexpected extra argument"),
    ("list --jsn", "No such option: --jsn"),
    ("--versio", "No such option"),
    ("check", "nothing to check: expected a file"),
    ("check nothing.py", "there is no file"),
    ("check .", "is a folder; name the files in it"),
    ("check FILE --level lax", "level must be one of formula, standard, strict, got 'lax'"),
    ("check FILE --dtype float65", "dtypes must be some of"),
    ("check FILE --dtype ''", "dtypes must be some of"),
    ("check FILE --level strict --dtype float16", "level 'strict' judges float64 and float32"),
    ("check FILE --domain y=one-hot", "softmax: domain has no 'y'"),
    ("check FILE --domain x=one-hop", "did you mean 'one-hot'?"),
    ("check FILE --domain n=0", "leaves no size"),
    ("check FILE --domain n=big", "expected a size as 8"),
    ("check FILE --domain ''", "domain has no ''"),
    ("check FILE --domain n=8 --domain n=even", "n is given twice, as '8' and 'even'; say one"),
    ("check FILE --domain masks=perhaps", "expected True or False"),
    ("check FILE --domain values=nice", "expected one of finite, moderate"),
    ("check FILE --operations sofmax", "unknown operation 'sofmax'; did you mean softmax"),
    ("check FILE --operations tanh", "has none of tanh, tanh_jacobian, tanh_vjp"),
    ("check FILE --may-write y", "may_write: there is no 'y'"),
    ("check FILE --waive nonsense", "waive: there is no 'nonsense'"),
    ("check FILE --examples 0", "--examples"),
    ("check FILE --examples many", "--examples"),
    ("check FILE --examples 99999999999999999999999", "--examples: expected at most"),
    ("check FILE --seed -1", "--seed"),
    ("check FILE --seed 99999999999999999999999", "--seed: expected at most"),
    ("check FILE --seed x", "--seed"),
    ("check FILE --timeout 0", "--timeout"),
    ("check FILE --timeout nan", "--timeout"),
    ("check FILE --timeout soon", "--timeout"),
    ("check FILE --memory 1", "--memory"),
    ("check FILE --memory 99999999999999999999999", "--memory: expected at most"),
    ("check FILE --jobs 0", "--jobs"),
    ("check FILE --jobs all", "--jobs"),
    ("check FILE --json /", "/ is a folder; name a file"),
    ("check FILE --json /nowhere/out.json", "there is no folder /nowhere"),
    ("check FILE --json FILE", "expected another file than"),
    ("check FILE --junit /", "/ is a folder; name a file"),
    ("check FILE --json - --junit -", "expected one of them on standard output"),
    ("check FILE --json same --junit same", "expected two files, got same for both"),
    ("check FILE --definitions nothing.py", "there is no file"),
    ("check FILE --nonsense", "No such option: --nonsense"),
    ("check FILE --level", "requires an argument"),
    ("check EMPTY", "has none of softmax"),
    ("check BROKEN", "can't be imported, line 1: SyntaxError"),
    ("check RAISES", "can't be imported, line 1: ZeroDivisionError"),
    ("check NULL", "can't be imported"),
    ("check LATIN", "can't be imported"),
    ("check DATA", "can't be imported"),
    ("matrix", "nothing to check: expected --command './mine' or --python mine.py"),
    ("matrix --python FILE --python A=FILE", "file.py is given twice"),
    ("matrix --command A=./a --python A=FILE", "the name A is given twice"),
    ('matrix --command "A=\'"', "has no closing quotation"),
    ("matrix --python FILE --validate", "--validate is about the lines of a program"),
    ("matrix --python FILE --json FILE", "expected another file than"),
    ("matrix --python FILE --html /nowhere/page.html", "there is no folder /nowhere"),
    ("matrix --python FILE --html same --json same", "expected two files, got same for both"),
    ("matrix sofmax --python FILE", "unknown operation 'sofmax'; did you mean softmax"),
    ("matrix --python nothing.py", "there is no file"),
    ("verify --operations sofmax", "did you mean 'softmax'?"),
    ("verify --operations ''", "unknown operation ''"),
    ("verify --examples 0", "--examples"),
    ("verify --jobs 0", "--jobs"),
    ("verify --seed -1", "--seed"),
    ("verify --json /", "/ is a folder; name a file"),
    ("verify softmax", "unexpected extra argument"),
    ("accuracy --operations sofmax", "did you mean 'softmax'?"),
    ("accuracy --cases 0", "--cases"),
    ("accuracy --plot /", "/ is a folder; name a file"),
    ("accuracy --readme nothing.md", "there is no file nothing.md"),
    ("accuracy --readme FILE", "expected one <!-- accuracy -->"),
    ("accuracy --seed -1", "--seed"),
    ("selftest --only zzz", "no row of the tables has 'zzz'"),
    ("selftest --jobs 0", "--jobs"),
    ("selftest --json /nowhere/x", "there is no folder /nowhere"),
    ("selftest --readme nothing.md", "there is no file nothing.md"),
    ("vectors nonsense", "No such command 'nonsense'"),
    ("vectors check nowhere", "there is no folder nowhere"),
    ("vectors check FILE", "there is no folder"),
    ("vectors check --implementation nothing.py", "there is no file nothing.py"),
    ("vectors check --without Nonsense", "no case has the flag Nonsense"),
    ("vectors check --timeout -1", "--timeout"),
    ("vectors diff", "Missing argument"),
    ("vectors diff a", "Missing argument"),
    ("vectors diff a b", "there is no folder a"),
    ("vectors export", "Missing argument"),
    ("vectors export FULL", "is not an empty folder"),
    ("vectors export FILE", "is not an empty folder"),
    ("vectors export new --format xls", "the format 'xls' is none of json, npz, csv"),
    ("vectors path sofmax", "there is no operation 'sofmax'; the names are activation[elu], "),
    ("vectors check --level loose", "--level: expected standard or strict, got 'loose'"),
    ("vectors check --definitions FILE", "--definitions: expected DIR, a set of what they define"),
    ("vectors export new --from nowhere", "there is no folder nowhere"),
    ("vectors export FILE/new", "cannot be written"),
    ("vectors write", "Missing argument"),
    ("vectors write FULL", "is not an empty folder"),
    ("vectors write new --version 0", "--version"),
    ("vectors write new --seed -1", "--seed"),
    ("vectors write new --definitions nothing.py", "there is no file nothing.py"),
]
CALLS: list[tuple[str, str, str]] = [  # a call in Python, the exception that it raises, and what its message has
    ("check()", "TypeError", "check() missing 1 required positional argument: 'operation'"),
    (
        'check("sofmax", vjp=sv)',
        "ValueError",
        "unknown operation 'sofmax'; did you mean softmax, log_softmax?; of any othe",
    ),
    ('check("softmax")', "ValueError", "softmax: nothing to check; give forward=, vjp= or jacobian="),
    ("check(3, vjp=sv)", "TypeError", "expected the name of an operation or a Definition, got a int"),
    ("check(None, vjp=sv)", "TypeError", "expected the name of an operation or a Definition, got a NoneType"),
    (
        "check(softmax, vjp=sv)",
        "TypeError",
        "expected the name of an operation or a Definition, got a function; of a for",
    ),
    (
        "check(Definition, vjp=sv)",
        "TypeError",
        "expected the name of an operation or a Definition, got the class Definition",
    ),
    ('check("", vjp=sv)', "ValueError", "unknown operation ''; there are scale, add, hadamard, exp, log, reciprocal,"),
    (
        'check("activation", vjp=sv)',
        "ValueError",
        "unknown operation 'activation'; did you mean activation[identity], activati",
    ),
    ('check("softmax", vjp=3)', "TypeError", "softmax: vjp must be a function, got int"),
    ('check("softmax", forward="x")', "TypeError", "softmax: forward must be a function, got str"),
    (
        'check("softmax", vjp=sv, dtypes="float65")',
        "ValueError",
        "dtypes must be some of float64, float32, float16, bfloat16, got 'float65'",
    ),
    (
        'check("softmax", vjp=sv, dtypes=())',
        "ValueError",
        "dtypes must be some of float64, float32, float16, bfloat16, got ()",
    ),
    (
        'check("softmax", vjp=sv, dtypes=None)',
        "ValueError",
        "dtypes must be some of float64, float32, float16, bfloat16, got None",
    ),
    (
        'check("softmax", vjp=sv, dtypes=3)',
        "ValueError",
        "dtypes must be some of float64, float32, float16, bfloat16, got 3",
    ),
    (
        'check("softmax", vjp=sv, dtypes=[None])',
        "ValueError",
        "dtypes must be some of float64, float32, float16, bfloat16, got [None]",
    ),
    (
        'check("softmax", vjp=sv, dtypes={"float32": 1})',
        "ValueError",
        "dtypes must be some of float64, float32, float16, bfloat16, got {'float32':",
    ),
    (
        'check("softmax", vjp=sv, dtypes=["complex64"])',
        "ValueError",
        "dtypes must be some of float64, float32, float16, bfloat16, got ['complex64",
    ),
    (
        'check("softmax", vjp=sv, level="lax")',
        "ValueError",
        "level must be one of formula, standard, strict, got 'lax'",
    ),
    ('check("softmax", vjp=sv, level=None)', "ValueError", "level must be one of formula, standard, strict, got None"),
    (
        'check("softmax", vjp=sv, level=["strict"])',
        "ValueError",
        "level must be one of formula, standard, strict, got ['strict']",
    ),
    (
        'check("softmax", vjp=sv, level="strict", dtypes="float16")',
        "ValueError",
        "level 'strict' judges float64 and float32, got ('float16',)",
    ),
    (
        'check("softmax", vjp=sv, domain="y=one-hot")',
        "TypeError",
        "softmax: domain must be a mapping, as {'values': 'finite'}, got 'y=one-hot'",
    ),
    (
        'check("softmax", vjp=sv, domain=["x"])',
        "TypeError",
        "softmax: domain must be a mapping, as {'values': 'finite'}, got ['x']",
    ),
    (
        'check("softmax", vjp=sv, domain={"y": "one-hot"})',
        "ValueError",
        "softmax: domain has no 'y'; it may have x, delta, n, values, kinks, masks, ",
    ),
    (
        'check("softmax", vjp=sv, domain={"x": "one-hop"})',
        "ValueError",
        "softmax: domain['x']: expected one of positive, non-negative, non-zero, one",
    ),
    (
        'check("softmax", vjp=sv, domain={"x": None})',
        "ValueError",
        "softmax: domain['x']: expected one of positive, non-negative, non-zero, one",
    ),
    (
        'check("softmax", vjp=sv, domain={"x": 3})',
        "ValueError",
        "softmax: domain['x']: expected one of positive, non-negative, non-zero, one",
    ),
    (
        'check("softmax", vjp=sv, domain={3: "x"})',
        "ValueError",
        "softmax: domain has no 3; it may have x, delta, n, values, kinks, masks, em",
    ),
    ('check("softmax", vjp=sv, domain={"n": 0})', "ValueError", "softmax: domain {'n': 0} leaves no size"),
    (
        'check("softmax", vjp=sv, domain={"n": -1})',
        "ValueError",
        "softmax: domain['n']: expected a size as 8, (1, 5), 'multiple of 8', 'at le",
    ),
    (
        'check("softmax", vjp=sv, domain={"n": 1.5})',
        "ValueError",
        "softmax: domain['n']: expected a size as 8, (1, 5), 'multiple of 8', 'at le",
    ),
    (
        'check("softmax", vjp=sv, domain={"n": "multiple of 0"})',
        "ValueError",
        "softmax: domain['n']: expected a size as 8, (1, 5), 'multiple of 8', 'at le",
    ),
    (
        'check("softmax", vjp=sv, domain={"n": "multiple of m"})',
        "ValueError",
        "softmax: domain['n']: expected a size as 8, (1, 5), 'multiple of 8', 'at le",
    ),
    ('check("softmax", vjp=sv, domain={"n": (5, 1)})', "ValueError", "softmax: domain {'n': (5, 1)} leaves no size"),
    (
        'check("softmax", vjp=sv, domain={"n": "at least 10**9"})',
        "ValueError",
        "softmax: domain {'n': 'at least 10**9'} leaves no size",
    ),
    (
        'check("softmax", vjp=sv, domain={"n": "at least 1000000000"})',
        "ValueError",
        "softmax: domain {'n': 'at least 1000000000'} leaves no size",
    ),
    (
        'check("softmax", vjp=sv, domain={"n": None})',
        "ValueError",
        "softmax: domain['n']: expected a size as 8, (1, 5), 'multiple of 8', 'at le",
    ),
    (
        'check("softmax", vjp=sv, domain={"values": "nice"})',
        "ValueError",
        "softmax: domain['values']: expected one of finite, moderate, got 'nice' (di",
    ),
    (
        'check("softmax", vjp=sv, domain={"masks": "yes"})',
        "ValueError",
        "softmax: domain['masks']: expected True or False, got 'yes'",
    ),
    (
        'check("softmax", vjp=sv, domain={"masks": 1})',
        "ValueError",
        "softmax: domain['masks']: expected True or False, got 1",
    ),
    ('check("softmax", vjp=sv, max_examples=0)', "ValueError", "max_examples must be a positive integer, got 0"),
    ('check("softmax", vjp=sv, max_examples=-3)', "ValueError", "max_examples must be a positive integer, got -3"),
    ('check("softmax", vjp=sv, max_examples=1.5)', "ValueError", "max_examples must be a positive integer, got 1.5"),
    (
        'check("softmax", vjp=sv, max_examples="many")',
        "ValueError",
        "max_examples must be a positive integer, got 'many'",
    ),
    ('check("softmax", vjp=sv, seed=-1)', "ValueError", "seed must be an integer from 0, got -1"),
    ('check("softmax", vjp=sv, seed="a")', "ValueError", "seed must be an integer from 0, got 'a'"),
    ('check("softmax", vjp=sv, seed=1.5)', "ValueError", "seed must be an integer from 0, got 1.5"),
    (
        'check("softmax", vjp=sv, may_write="y")',
        "ValueError",
        "softmax: may_write: there is no 'y'; there are delta, x",
    ),
    ('check("softmax", vjp=sv, may_write=3)', "TypeError", "softmax: may_write: expected names, as ['delta'], got 3"),
    (
        'check("softmax", vjp=sv, may_write=None)',
        "TypeError",
        "softmax: may_write: expected names, as ['delta'], got None",
    ),
    (
        'check("softmax", vjp=sv, may_write=[3])',
        "ValueError",
        "softmax: may_write: there is no '3'; there are delta, x",
    ),
    (
        'check("softmax", vjp=sv, waive="nonsense")',
        "ValueError",
        "softmax: waive: there is no 'nonsense'; there are forward_equals_jax, jacob",
    ),
    (
        'check("softmax", vjp=sv, waive=3)',
        "TypeError",
        "softmax: waive: expected names, as ['forward_equals_jax'], got 3",
    ),
    (
        'check("softmax", vjp=sv, waive=None)',
        "TypeError",
        "softmax: waive: expected names, as ['forward_equals_jax'], got None",
    ),
    (
        'check("softmax", vjp=sv, convention=3)',
        "TypeError",
        "softmax: convention must be a mapping, as {'batch': 'first'}, got 3",
    ),
    (
        'check("softmax", vjp=sv, convention={"batch": "first", "Z": "x"})',
        "ValueError",
        "softmax: convention has no 'Z'; it may have batch: 'none', 'first', 'last'",
    ),
    (
        'check("affine", vjp=sv, convention={"W": "sideways"})',
        "ValueError",
        "affine: W: expected 'out,in' or 'in,out', got 'sideways'",
    ),
    (
        'check("affine", vjp=sv, convention={"batch": "last?"})',
        "ValueError",
        "affine: batch: expected 'none' or 'first' or 'last', got 'last?'",
    ),
    (
        'check("affine", vjp=sv, convention="first")',
        "TypeError",
        "affine: convention must be a mapping, as {'batch': 'first'}, got 'first'",
    ),
    ('check("softmax", gradient=sv)', "TypeError", "check() got an unexpected keyword argument 'gradient'"),
    ('check("softmax", sv)', "TypeError", "check() takes 1 positional argument but 2 were given"),
    ("each_law()", "TypeError", "each_law() missing 1 required positional argument: 'operation'"),
    (
        'each_law("sofmax", vjp=sv)',
        "ValueError",
        "unknown operation 'sofmax'; did you mean softmax, log_softmax?; of any othe",
    ),
    ('each_law("softmax")', "ValueError", "softmax: nothing to check; give forward=, vjp= or jacobian="),
    ('each_law("softmax", vjp=3)', "TypeError", "softmax: vjp must be a function, got int"),
    (
        'each_law("softmax", vjp=sv, level="lax")',
        "ValueError",
        "level must be one of formula, standard, strict, got 'lax'",
    ),
    (
        'each_law("softmax", vjp=sv, dtypes="float65")',
        "ValueError",
        "dtypes must be some of float64, float32, float16, bfloat16, got 'float65'",
    ),
    (
        'each_law("softmax", vjp=sv, domain={"y": "one-hot"})',
        "ValueError",
        "softmax: domain has no 'y'; it may have x, delta, n, values, kinks, masks, ",
    ),
    ('each_law("softmax", vjp=sv, max_examples="x")', "ValueError", "max_examples must be a positive integer, got 'x'"),
    ('each_law("softmax", vjp=sv, max_examples=0)', "ValueError", "max_examples must be a positive integer, got 0"),
    ('each_law("softmax", vjp=sv, nonsense=1)', "TypeError", "check() got an unexpected keyword argument 'nonsense'"),
    ('each_law(Definition(fwd, "(n)"))', "ValueError", "fwd: nothing to check; give forward=, vjp= or jacobian="),
    (
        'each_law("softmax", vjp=sv, convention=3)',
        "TypeError",
        "softmax: convention must be a mapping, as {'batch': 'first'}, got 3",
    ),
    ("replay()", "TypeError", "replay() missing 3 required positional arguments: 'operation', 'law', and '"),
    ('replay("softmax")', "TypeError", "replay() missing 2 required positional arguments: 'law' and 'delta'"),
    (
        'replay("sofmax", "vjp_equals_jax_vjp", 1.0, 1.0)',
        "ValueError",
        "unknown operation 'sofmax'; did you mean softmax, log_softmax?; of any othe",
    ),
    (
        'replay("softmax", "no_law", [1.0], [1.0])',
        "ValueError",
        "unknown law 'no_law'; there are forward_equals_jax, jacobian_equals_jacrev,",
    ),
    ('replay("softmax", "vjp_equals_jax_vjp", [1.0])', "ValueError", "softmax takes x after delta, got 0 arguments"),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], [1.0], [1.0])',
        "ValueError",
        "softmax takes x after delta, got 2 arguments",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0, 2.0], [1.0])',
        "Violation",
        "ValueError: softmax: delta must have shape (n) with n = 1 as in x, got (2)",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], [[1.0]])',
        "ValueError",
        "softmax: x has shape (1, 1), expected (n) with {'n': 1}",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", "a", [1.0])',
        "TypeError",
        "softmax: delta: expected an array of real numbers, got 'a'",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], "a")',
        "TypeError",
        "softmax: x: expected an array of real numbers, got 'a'",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], [None])',
        "TypeError",
        "softmax: x: expected an array of real numbers, got [None]",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", None, [1.0])',
        "TypeError",
        "softmax: delta: expected an array of real numbers, got None",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], [1j])',
        "TypeError",
        "softmax: x: expected an array of real numbers, got [1j]",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], [1.0], vjp=3)',
        "TypeError",
        "softmax: vjp must be a function, got int",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], [[1.0], [2.0, 3.0]])',
        "TypeError",
        "softmax: x: expected an array of real numbers, got [[1.0], [2.0, 3.0]]",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], [1.0], vjp=sv, level="lax")',
        "Violation",
        "dx[0] = 1.0, expected 0.0: off by 1, allowed 1.78e-14",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], [1.0], vjp=sv, may_write="q")',
        "ValueError",
        "softmax: may_write: there is no 'q'; there are delta, x",
    ),
    (
        'replay("softmax", "vjp_equals_jax_vjp", [1.0], [1.0], vjp=sv, domain={"q": 1})',
        "ValueError",
        "softmax: domain has no 'q'; it may have x, delta, n, values, kinks, masks, ",
    ),
    (
        'replay("affine", "vjp_equals_jax_vjp", [1.0], [[1.0, 2.0]], [1.0], [1.0])',
        "ValueError",
        "affine: x has shape (1,), expected (n) with {'d': 1, 'n': 2}",
    ),
    (
        'replay(Definition(fwd, "(n)"), "vjp_equals_jax_vjp", [1.0], [1.0])',
        "ValueError",
        "fwd: nothing to try; give forward=, vjp= or jacobian=",
    ),
    (
        'replay(Definition(fwd, "(n)"), "vjp_equals_jax_vjp", [1.0], [[1.0]], vjp=sv)',
        "ValueError",
        "fwd: x has shape (1, 1), expected (n) with {'n': 1}",
    ),
    (
        'replay(3, "vjp_equals_jax_vjp", [1.0], [1.0])',
        "TypeError",
        "expected the name of an operation or a Definition, got a int",
    ),
    (
        'replay("softmax", 3, [1.0], [1.0])',
        "ValueError",
        "unknown law 3; there are forward_equals_jax, jacobian_equals_jacrev, vjp_eq",
    ),
    ("Definition()", "TypeError", "Definition.__init__() missing 2 required positional arguments: 'f' and 'sha"),
    ("Definition(fwd)", "TypeError", "Definition.__init__() missing 1 required positional argument: 'shapes'"),
    ('Definition(3, "(n)")', "TypeError", "Definition: expected a function of jax.numpy, got int"),
    ('Definition("softmax", "(n)")', "TypeError", "Definition: expected a function of jax.numpy, got str"),
    ('Definition(fwd, "n")', "ValueError", "expected shapes such as '(b,n),(n)', got 'n'; did you mean '(n)'?"),
    ('Definition(fwd, "(n")', "ValueError", "expected shapes such as '(b,n),(n)', got '(n'; did you mean '(n)'?"),
    ('Definition(fwd, "")', "ValueError", "expected shapes such as '(b,n),(n)', got ''"),
    ("Definition(fwd, 3)", "TypeError", "expected shapes such as '(b,n),(n)', got 3"),
    ("Definition(fwd, None)", "TypeError", "expected shapes such as '(b,n),(n)', got None"),
    ('Definition(fwd, "(n),(n)")', "ValueError", "fwd takes x; (n),(n) has 2 shapes"),
    (
        'Definition(fwd, "(n)->(n)")',
        "ValueError",
        "expected shapes such as '(b,n),(n)', got '(n)->(n)'; did you mean '(n)'? Th",
    ),
    (
        'Definition(fwd, "(n)", name=3)',
        "ValueError",
        "Definition: expected a name of letters, digits and _, got 3; give name=",
    ),
    ('Definition(fwd, "(n)", integers={"y": 3})', "ValueError", "fwd: integers has no 'y'; it may have x"),
    ('Definition(fwd, "(n)", integers={"x": 0})', "ValueError", "fwd: {'x': 0} leaves no integers"),
    (
        'Definition(fwd, "(n)", integers={"x": "q"})',
        "ValueError",
        "fwd: integers['x']: expected 'v', 'v or -100', (low, high) or bool, with le",
    ),
    ('Definition(fwd, "(n)", integers=3)', "TypeError", 'fwd: integers: expected a mapping, as {"labels": "v"}, got 3'),
    (
        'Definition(fwd, "(n)", integers="x")',
        "TypeError",
        'fwd: integers: expected a mapping, as {"labels": "v"}, got \'x\'',
    ),
    ('Definition(fwd, "(n)", domain={"y": "positive"})', "ValueError", "fwd: domain has no 'y'; it may have x"),
    (
        'Definition(fwd, "(n)", domain={"x": "nice"})',
        "ValueError",
        "fwd: domain['x']: expected one of positive, non-negative, non-zero, one-hot",
    ),
    ('Definition(fwd, "(n)", domain=3)', "TypeError", 'fwd: domain: expected a mapping, as {"x": "positive"}, got 3'),
    ('Definition(fwd, "(n)", sizes={"m": 3})', "ValueError", "fwd: sizes has no 'm'; it may have n"),
    ('Definition(fwd, "(n)", sizes={"n": 0})', "ValueError", "fwd: {'n': 0} leaves no sizes"),
    (
        'Definition(fwd, "(n)", sizes={"n": "many"})',
        "ValueError",
        "fwd: sizes['n']: expected a size as 8, (1, 5), 'multiple of 8', 'at least 2",
    ),
    (
        'Definition(fwd, "(n)", sizes=3)',
        "TypeError",
        'fwd: sizes: expected a mapping, as {"n": "multiple of 8"}, got 3',
    ),
    ('Definition(fwd, "(n)", also=3)', "TypeError", "fwd: also: expected a list of functions, as also=[f], got 3"),
    ('Definition(fwd, "(n)", also=[3])', "TypeError", "fwd: also: expected functions, as also=[f], got 3"),
    (
        'Definition(lambda *a: a[0], "(n)")',
        "ValueError",
        "<lambda>: its arguments have no names; write def f(x, …) around it",
    ),
    (
        'Definition(lambda delta: delta, "(n)", name="f")',
        "ValueError",
        "f: an argument may not be called delta, which is the cotangent",
    ),
    (
        'check(Definition(lambda x: x, "(n)"), vjp=sv)',
        "ValueError",
        "a Definition of a lambda has no name: give name=, or write a def",
    ),
    (
        'check(Definition(lambda x: x.tolist(), "(n)", name="f"), vjp=sv)',
        "Unusable",
        "f: the definition needs the numbers of an argument as Python's or NumPy's, ",
    ),
    (
        'check(Definition(lambda x: (x, x), "(n)", name="f"), vjp=sv)',
        "Unusable",
        "f: the definition returns a tuple, expected one array of floats",
    ),
    (
        'check(Definition(lambda x: None, "(n)", name="f"), vjp=sv)',
        "Unusable",
        "f: the definition returns a NoneType, expected one array of floats",
    ),
    (
        'check(Definition(lambda x: x.reshape(2, 3), "(n)", name="f"), vjp=sv)',
        "Unusable",
        "f: the definition raises TypeError at shapes (2): cannot reshape array of s",
    ),
    (
        'check(Definition(lambda x: 1 / 0, "(n)", name="f"), vjp=sv)',
        "Unusable",
        "f: the definition raises ZeroDivisionError at shapes (2): division by zero;",
    ),
    (
        'check(Definition(lambda x: np.sin(x), "(n)", name="f"), vjp=sv)',
        "Unusable",
        "f: the definition needs the numbers of an argument as Python's or NumPy's, ",
    ),
    (
        'check(Definition(lambda x: x > 0, "(n)", name="f"), vjp=sv)',
        "Unusable",
        "f: the definition returns bool numbers, expected one array of floats",
    ),
    (
        'check(Definition(lambda x: jnp.fft.fft(x).real, "(n)", name="f"), vjp=sv)',
        "TypeError",
        "no rule for `complex numbers`: write it with other functions of jax.numpy, ",
    ),
    ("certified.value()", "TypeError", "value() missing 1 required positional argument: 'operation'"),
    ('certified.value("softmax")', "ValueError", "softmax: expected its arguments as arrays, got none"),
    (
        'certified.value("sofmax", [1.0])',
        "ValueError",
        "unknown operation 'sofmax'; did you mean softmax, log_softmax?",
    ),
    ('certified.value("softmax", "a")', "TypeError", "softmax: argument 0: expected an array of real numbers, got 'a'"),
    (
        'certified.value("softmax", [[1.0]])',
        "ValueError",
        "softmax (n)->(n): argument 0 has shape (1, 1), expected (n) with {'n': 1}",
    ),
    (
        'certified.value("softmax", None)',
        "TypeError",
        "softmax: argument 0: expected an array of real numbers, got None",
    ),
    ('certified.value("softmax", [1.0], [2.0])', "ValueError", "softmax takes 1 arguments (n)->(n), got 2"),
    (
        "certified.value(3, [1.0])",
        "TypeError",
        "expected the name of an operation, a Definition or a function, got a int",
    ),
    (
        'certified.value("softmax", [1j])',
        "TypeError",
        "softmax: argument 0: expected an array of real numbers, got [1j]",
    ),
    (
        'certified.value("softmax", [float("nan")])',
        "ValueError",
        "softmax: argument 0 holds nan, expected finite numbers",
    ),
    (
        "certified.value(lambda x: x.tolist(), [1.0])",
        "ValueError",
        "<lambda>: the function raises ConcretizationTypeError: Abstract tracer valu",
    ),
    (
        "certified.value(lambda x: 1 / 0, np.ones(3))",
        "ValueError",
        "<lambda>: the function raises ZeroDivisionError: division by zero",
    ),
    (
        "certified.value(lambda x: (x, x), np.ones(3))",
        "ValueError",
        "<lambda>: the function returns a tuple, expected one array of floats",
    ),
    (
        "certified.value(lambda x: jnp.fft.fft(x).real, np.ones(3))",
        "TypeError",
        "no rule for `complex numbers`: write it with other functions of jax.numpy, ",
    ),
    (
        "certified.value(lambda x: jnp.linalg.svd(x)[1], np.ones((2, 2)))",
        "TypeError",
        "no rule for `svd`: write it with other functions of jax.numpy, or add a rul",
    ),
    (
        'certified.value("affine", np.ones((2, 3)), np.ones(2), np.ones(2))',
        "ValueError",
        "affine (d,n),(n),(d)->(d): argument 1 has shape (2,), expected (n) with {'d",
    ),
    ('certified.vjp("softmax", [1.0])', "ValueError", "softmax: expected its arguments as arrays, got none"),
    ('certified.vjp("softmax", [1.0, 2.0], [1.0])', "ValueError", "softmax: delta has shape (2,), the output has (1,)"),
    (
        'certified.vjp("sofmax", [1.0], [1.0])',
        "ValueError",
        "unknown operation 'sofmax'; did you mean softmax, log_softmax?",
    ),
    ('certified.vjp("softmax", "a", [1.0])', "ValueError", "softmax: delta has shape (), the output has (1,)"),
    (
        "certified.vjp(3, [1.0], [1.0])",
        "TypeError",
        "expected the name of an operation, a Definition or a function, got a int",
    ),
    (
        "certified.vjp(lambda x: x, [1.0, 2.0], [1.0])",
        "ValueError",
        "<lambda>: delta has shape (2,), the output has (1,)",
    ),
    (
        'certified.jacobian("sofmax", [1.0])',
        "ValueError",
        "unknown operation 'sofmax'; did you mean softmax, log_softmax?",
    ),
    ('certified.jacobian("softmax")', "ValueError", "softmax: expected its arguments as arrays, got none"),
    (
        "certified.jacobian(3, [1.0])",
        "TypeError",
        "expected the name of an operation, a Definition or a function, got a int",
    ),
    (
        'certified.jacobian("softmax", "a")',
        "TypeError",
        "softmax: argument 0: expected an array of real numbers, got 'a'",
    ),
    ("from_torch()", "TypeError", "from_torch() missing 1 required positional argument: 'function'"),
    ("from_torch(3)", "TypeError", "from_torch: expected a function, a module or a torch.autograd.Function, got"),
    ('from_torch("relu")', "TypeError", "from_torch: expected a function, a module or a torch.autograd.Function, got"),
    ("from_torch(fwd, 3)", "TypeError", "from_torch() takes 1 positional argument but 2 were given"),
    ("from_jax()", "TypeError", "from_jax() missing 1 required positional argument: 'function'"),
    ("from_jax(3)", "TypeError", "from_jax: function must be a function or a class, got int"),
    ('from_jax("softmax")', "TypeError", "from_jax: function must be a function or a class, got str"),
    ("from_autograd()", "TypeError", "from_autograd() missing 1 required positional argument: 'function'"),
    ("from_autograd(3)", "TypeError", "from_autograd: function must be a function or a class, got int"),
    ("from_pair()", "TypeError", "from_pair() missing 2 required positional arguments: 'forward' and 'backwar"),
    ("from_pair(3, 4)", "TypeError", "from_pair: forward must be a function or a class, got int"),
    ("from_pair(fwd)", "TypeError", "from_pair() missing 1 required positional argument: 'backward'"),
    ("from_pair(fwd, 3)", "TypeError", "from_pair: backward must be a function or a class, got int"),
    ("from_pair(fwd, sv, cache=3)", "TypeError", "from_pair() got an unexpected keyword argument 'cache'"),
    ("from_layer()", "TypeError", "from_layer() missing 1 required positional argument: 'make'"),
    ("from_layer(3)", "TypeError", "from_layer: make must be a function or a class, got int"),
    ("from_layer(fwd, parameters=3)", "TypeError", "from_layer: parameters: expected a mapping, as {'W': 'W'}, got 3"),
    ("from_tape()", "TypeError", "from_tape() missing 2 required positional arguments: 'function' and 'tensor"),
    ("from_tape(3)", "TypeError", "from_tape() missing 1 required positional argument: 'tensor'"),
    ("from_c()", "TypeError", "from_c() missing 4 required positional arguments: 'forward', 'takes', 'back"),
    ("from_c(3)", "TypeError", "from_c() missing 3 required positional arguments: 'takes', 'backward', and "),
    (
        'from_c("nolib.so", "f")',
        "TypeError",
        "from_c() missing 2 required positional arguments: 'backward' and 'backward_",
    ),
    ("conventional()", "TypeError", "conventional() missing 1 required positional argument: 'operation'"),
    ('conventional("sofmax")', "ValueError", "unknown operation 'sofmax'; did you mean softmax, log_softmax?"),
    (
        'conventional("affine", batch="sideways")',
        "ValueError",
        "affine: batch: expected 'none' or 'first' or 'last', got 'sideways'",
    ),
    (
        'conventional("affine", nonsense="x")',
        "ValueError",
        "affine: convention has no 'nonsense'; it may have batch: 'none', 'first', '",
    ),
    (
        'conventional("affine", order="W x")',
        "ValueError",
        "affine: order: expected 'W x b' in another order, got 'W x'",
    ),
    ("conventional(3)", "TypeError", "expected the name of an operation, a Definition or a function, got a int"),
    (
        'load_vectors("sofmax")',
        "VectorError",
        "there is no operation 'sofmax'; the names are activation[elu], activation[gel",
    ),
    ("load_vectors(3)", "VectorError", "there is no operation 3; the names are activation[elu], activation[gelu], act"),
    ('load_vectors("softmax", "nowhere")', "VectorError", "there is no folder nowhere"),
    (
        'verify(["sofmax"])',
        "LookupError",
        "unknown operation 'sofmax'; did you mean 'softmax'? (`backprop list` shows ",
    ),
    (
        'verify("softmax", examples=0)',
        "ValueError",
        "examples must be at least 1, got 0: a run that checks nothing shows nothing",
    ),
    (
        'verify(["add"], examples=0)',
        "ValueError",
        "examples must be at least 1, got 0: a run that checks nothing shows nothing",
    ),
    ('verify(["add"], examples="many")', "ValueError", "examples: expected a whole number, from 0, got 'many'"),
    ('verify(["add"], seed=-1)', "ValueError", "seed: expected a whole number, from 0, got -1"),
    ('verify(["add"], seed="a")', "ValueError", "seed: expected a whole number, from 0, got 'a'"),
    ('verify(["add"], jobs="a")', "ValueError", "jobs: expected a whole number, from 0, got 'a'"),
    (
        'verify(["add"], executor=3)',
        "TypeError",
        "executor: expected an Executor of concurrent.futures, or what has its submi",
    ),
    ("verify(3)", "TypeError", "operations: expected a list of names, as ['softmax'], got 3"),
    ("verify([3])", "LookupError", "unknown operation 3; `backprop list` shows all"),
    ('replay_batch("sofmax")', "TypeError", "replay_batch() missing 1 required positional argument: 'delta'"),
]
QUICK = [*COMMANDS[::6], *CALLS[::12]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("misuse")
    for name, content in FILES.items():
        (folder / f"{name.lower()}.py").write_bytes(content)
    (folder / "full").mkdir()
    (folder / "full" / "something").touch()
    return folder


def test_there_are_two_hundred() -> None:
    assert len({row[0] for row in (*COMMANDS, *CALLS)}) == len(COMMANDS) + len(CALLS) >= 200


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("call", "says"), sampled(COMMANDS, QUICK))
def test_a_wrong_command_is_one_line_and_exit_code_2(
    call: str, says: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = [word.replace("FULL", "full") for word in shlex.split(call)]
    for name in FILES:
        words = [word.replace(name, f"{name.lower()}.py") for word in words]
    before = {*folder.rglob("*")}
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line and not line.startswith(("Usage: ", "Try '"))]
    assert says in " ".join(lines)
    assert len(lines) == 1, result.stderr
    assert result.stdout.strip() == ""
    assert "Traceback" not in result.output
    assert {*folder.rglob("*")} == before


@pytest.mark.parametrize(("call", "kind", "says"), sampled(CALLS, QUICK))
def test_a_wrong_call_is_one_line(call: str, kind: str, says: str) -> None:
    with pytest.raises(Exception, match=re.escape(says)) as raised:
        eval(call, dict(NAMES))
    assert raised.type.__name__ == kind
    assert len(str(raised.value).splitlines()) == 1
