"""What is written of a cohort: tables for whoever teaches, and for each submission what its author gets.

`results.json` is Gradescope's, which otter's is as well; PrairieLearn's scores are from 0 to 1.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checking.verdict import RIGHT
from .assignment import Assignment
from .feedback import as_html, as_markdown, lines, page
from .points import CRASHED, MISSING, NOT_REACHED, Said, points, shown_of, shown_points
from .run import Grade, Graded

OF_NBGRADER = (  # the columns of `nbgrader export`
    *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
    *("raw_score", "late_submission_penalty", "score", "max_score"),
)
FORMULA = re.compile(r"^[=+\-@\t\r]")  # what a spreadsheet would run


def files_of(graded: Graded) -> Iterator[tuple[str, str]]:
    """All files, by their path in the folder of the results."""
    yield "grades.csv", _csv(_grades(graded))
    yield "mistakes.csv", _csv(_mistakes(graded))
    yield "nbgrader.csv", _csv(_of_nbgrader(graded))
    yield "otter.csv", _csv(_of_otter(graded))
    yield "junit.xml", _junit(graded)
    for grade in graded.grades:
        blocks, folder = page(graded.assignment, grade), f"submissions/{grade.name}"
        yield f"{folder}/feedback.md", as_markdown(blocks)
        yield f"{folder}/feedback.html", as_html(blocks)
        yield f"{folder}/results.json", _json(of_gradescope(graded, grade))
        yield f"{folder}/prairielearn.json", _json(of_prairielearn(graded, grade))


def write_files(folder: Path, graded: Graded) -> None:
    """Writes all of them."""
    for name, text in files_of(graded):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


# ── Tables of the cohort ────────────────────────────────────────────────────────────────────────────────────────────


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    """A number as it is; a text so that no spreadsheet takes it for a formula."""
    text = value if isinstance(value, str) else shown_points(value)
    return f"'{text}" if isinstance(value, str) and FORMULA.match(text) else text


def _grades(graded: Graded) -> list[list[Any]]:
    names = [exercise.name for exercise in graded.assignment.exercises]
    rows = [(grade.name, graded.points(grade)) for grade in graded.grades]
    body = [[name, *got.values(), sum(got.values()), graded.assignment.points] for name, got in rows]
    return [["submission", *names, "points", "of"], *body]


def mistakes(graded: Graded) -> Counter[tuple[str, str, str, str]]:
    """How many made which mistake: an exercise, a function, what is said of it, and the cause."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for exercise in graded.assignment.exercises:
        for grade in graded.grades:
            outcome = grade.outcomes[exercise.name]
            for kind, name in exercise.functions.items():
                said = outcome.functions.get(kind, Said(MISSING))
                causes = {fault.cause: None for fault in outcome.faults if fault.kind == kind}
                for cause in causes or ({"": None} if said.word != RIGHT else {}):
                    found[exercise.name, name, said.word, cause] += 1
    return found


def _mistakes(graded: Graded) -> list[list[Any]]:
    order = [exercise.name for exercise in graded.assignment.exercises]
    rows = sorted(mistakes(graded).items(), key=lambda pair: (order.index(pair[0][0]), -pair[1], pair[0]))
    return [["exercise", "function", "verdict", "cause", "submissions"], *([*key, count] for key, count in rows)]


def _of_nbgrader(graded: Graded) -> list[list[Any]]:
    rows = []
    for grade in graded.grades:
        total = sum(graded.points(grade).values())
        of = {"assignment": graded.assignment.title, "student_id": grade.name, "raw_score": total}
        of |= {"late_submission_penalty": 0.0, "score": total, "max_score": graded.assignment.points}
        rows.append([of.get(column, "") for column in OF_NBGRADER])
    return [list(OF_NBGRADER), *rows]


def _of_otter(graded: Graded) -> list[list[Any]]:
    """As `otter grade` writes it: each question's points, the share of all, the file."""
    rows = []
    for grade in graded.grades:
        got = graded.points(grade)
        rows.append([*got.values(), f"{sum(got.values()) / graded.assignment.points:.6g}", grade.name])
    return [[*(exercise.name for exercise in graded.assignment.exercises), "percent_correct", "file"], *rows]


# ── Of one submission ───────────────────────────────────────────────────────────────────────────────────────────────


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def of_gradescope(graded: Graded, grade: Grade) -> dict[str, Any]:
    """What Gradescope reads: a test for each exercise."""
    got = graded.points(grade)
    tests = [
        {
            "name": exercise.name,
            "number": str(number),
            "score": got[exercise.name],
            "max_score": exercise.points,
            "status": "passed" if got[exercise.name] == exercise.points else "failed",
            "output": lines(exercise, grade.outcomes[exercise.name]),
            "output_format": "text",
            "tags": [grade.outcomes[exercise.name].word],
            "visibility": "visible",
        }
        for number, exercise in enumerate(graded.assignment.exercises, 1)
    ]
    total = round(sum(got.values()), 2)
    found = {"score": total, "output": _summary(graded.assignment, grade, total), "output_format": "text"}
    return {**found, "visibility": "visible", "stdout_visibility": "hidden", "tests": tests}


def of_prairielearn(graded: Graded, grade: Grade) -> dict[str, Any]:
    """What PrairieLearn reads: a share from 0 to 1; a submission of which nothing can be read is not gradable."""
    functions = [said for outcome in grade.outcomes.values() for said in outcome.functions.values()]
    if grade.told and all(said.word in (MISSING, NOT_REACHED) or said == Said(CRASHED) for said in functions):
        return {"gradable": False, "format_errors": list(grade.told)}
    got = graded.points(grade)
    tests = [
        {
            "name": exercise.name,
            "points": got[exercise.name],
            "max_points": exercise.points,
            "message": grade.outcomes[exercise.name].word,
            "output": lines(exercise, grade.outcomes[exercise.name]),
        }
        for exercise in graded.assignment.exercises
    ]
    total = round(sum(got.values()), 2)
    share = round(total / graded.assignment.points, 6)
    return {"gradable": True, "score": share, "message": _summary(graded.assignment, grade, total), "tests": tests}


def _summary(assignment: Assignment, grade: Grade, total: float) -> str:
    head = f"{assignment.title}: {shown_of(total, assignment.points)} points"
    return "\n".join([head, *grade.told])


def _junit(graded: Graded) -> str:
    """A suite for each submission, a test for each criterion of an exercise."""
    from junitparser import Failure, JUnitXml, TestCase, TestSuite

    xml = JUnitXml(graded.assignment.title)
    for grade in graded.grades:
        suite = TestSuite(grade.name)
        for exercise in graded.assignment.exercises:
            outcome = grade.outcomes[exercise.name]
            for criterion, (got, most) in points(exercise, outcome).items():
                case = TestCase(f"{exercise.name}: {criterion}", grade.name)
                if got < most:
                    failure = Failure(f"{shown_of(got, most)} points", outcome.word)
                    failure.text = lines(exercise, outcome)
                    case.result = [failure]
                suite.add_testcase(case)
        xml.add_testsuite(suite)
    out = io.BytesIO()
    xml.write(out, pretty=False)
    return out.getvalue().decode()
