"""Grade a notebook: the student's code runs in a sandbox, what it answered is judged here.

No check runs beside a student's code. The sandbox is asked for the plain value of each name that a check
judges, and the check compares it here, with data from a run of the instructor's notebook: a student who
changes the data, the checks or Python itself changes nothing but what becomes of the own answer.

A cell that takes too long or too much is stopped, which ends its kernel. A new one then runs the cells before
it again and goes on after it, so that a stopped cell costs no exercise but its own.
"""

import ast
import builtins
import copy
import io
import re
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import matplotlib.pyplot as plt
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from classroom import Refusal
from classroom.sandbox import STANDARD, Sandbox, Stopped
from helpers.exercises import Feedback, check

SUBMISSION_S = 900
MOST_CELLS = 1000
MOST_OUTPUT = 30 * 10**6  # characters, of all cells


@dataclass(frozen=True)
class Question:
    """What a check asks of a student.

    Attributes
    ----------
    exercise : str
        As in ``"image_intro.field_of_view"``.
    answer : str
        The expression that is judged, as a rule one name.
    data : dict
        What the right answer is computed from, as the instructor's notebook has it at this place.
    """

    exercise: str
    answer: str
    data: dict

    @property
    def names(self):
        """The names that the answer is made of."""
        found = {node.id for node in ast.walk(ast.parse(self.answer)) if isinstance(node, ast.Name)}
        return sorted(found - set(vars(builtins)))

    def judge(self, values):
        """Return the :class:`helpers.exercises.Feedback` on the values of its names."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return check(self.exercise, eval(self.answer, dict(values)), **self.data)


def questions(notebook):
    """Run an instructor's notebook and return what its checks ask.

    Parameters
    ----------
    notebook : NotebookNode
        An assignment as nbgrader has it under ``source``, with solutions. It runs in this
        process, as it is trusted.

    Returns
    -------
    dict of str to Question
        Name of the check cell -> what it asks.

    Raises
    ------
    Refusal
        If the notebook fails, or one of its own solutions is not accepted.
    """
    found, variables = {}, {"__name__": "__main__"}
    for cell in notebook.cells:
        name = is_check(cell)
        if cell.cell_type != "code":
            continue
        if not name:
            _run_here(cell, variables)
            continue
        exercise, answer, data = _read_check(cell.source, name)
        values = {key: _keep(eval(expression, variables)) for key, expression in data.items()}
        found[name] = Question(exercise, answer, values)
        feedback = found[name].judge(variables)
        if not feedback.passed:
            raise Refusal(
                f"The solution of {exercise} is not accepted ({feedback.message}): mend the lesson."
            )
    return found


def grade(notebook, asked, files=(), limits=STANDARD, confined=True, submission_s=SUBMISSION_S):
    """Run a student's notebook in a sandbox and judge its answers.

    Parameters
    ----------
    notebook : NotebookNode
        The submission, as :func:`restore` returns it; it is not changed.
    asked : dict of str to Question
        From :func:`questions`.
    files : iterable of Path
        What else belongs to the submission.
    limits : Limits
        For a cell.
    confined : bool
        False runs the code without a wall, as the user who grades.
    submission_s : float
        Seconds for all cells together; those left when they are over are not run.

    Returns
    -------
    NotebookNode
        With the outputs of all cells; those of a check are the feedback and the points earned, which is what
        nbgrader takes for the grade.
    """
    notebook = copy.deepcopy(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs, cell.execution_count = [], None
    stopped, judged, deadline = {}, set(), time.monotonic() + submission_s
    overtime = f"all cells together ran longer than {submission_s:g} s"
    while True:
        with Sandbox(files, limits, confined) as box:
            trouble, kept = "", 0
            for number, cell in enumerate(code):
                late, name = time.monotonic() > deadline, is_check(cell)
                reason = stopped.get(number, overtime if late else "")
                try:
                    if name:
                        if name in asked and name not in judged:
                            feedback = _feedback(asked[name], box, reason, trouble)
                            cell.outputs = _shown(feedback, cell.metadata.nbgrader.points)
                            judged.add(name)
                        trouble = ""
                    elif reason:
                        cell.outputs, trouble = [_error(reason)], trouble or f"was stopped: {reason}"
                    else:
                        cell.outputs = box.run(cell.source)
                        raised = [out.ename for out in cell.outputs if out.output_type == "error"]
                        trouble = trouble or (f"ends in {raised[0]}" if raised else "")
                        kept += len(str(cell.outputs))
                        if kept > MOST_OUTPUT:
                            cell.outputs = [new_output("stream", text="(This output was left out.)")]
                except Stopped as error:
                    stopped[number] = str(error)
                    break
            else:
                return notebook


def restore(notebook, released):
    """Return a submission with all that was not to be changed put back.

    Parameters
    ----------
    notebook : NotebookNode
        What a student handed in.
    released : NotebookNode
        What the student was given.

    Returns
    -------
    NotebookNode
        The cells of `released` in their order, the answer cells as the student left them, and the
        student's own cells where they stood, as far as that can be told: after the same cell of the lesson.

    Raises
    ------
    Refusal
        If it has more than 1000 cells.
    """
    if len(notebook.cells) > MOST_CELLS:
        raise Refusal(f"The notebook has more than {MOST_CELLS} cells: nobody reads that.")
    answers, own, place = {}, {}, None
    given = {_key(cell): cell for cell in released.cells}
    texts = {cell.source: _key(cell) for cell in released.cells if cell.source}
    for cell in notebook.cells:
        key = _key(cell) if _key(cell) in given else texts.get(cell.source)
        if key is None or (key in answers and cell.source not in texts):
            if cell.source.strip() and cell.cell_type in ("code", "markdown"):
                make = new_code_cell if cell.cell_type == "code" else new_markdown_cell
                own.setdefault(place, []).append(make(_harmless(cell.source, cell.cell_type)))
        else:
            place = key
            answers.setdefault(key, cell.source)
    whole = copy.deepcopy(released)
    whole.cells = own.get(None, [])
    for cell in released.cells:
        cell = copy.deepcopy(cell)
        facts = cell.metadata.get("nbgrader", {})
        if facts.get("solution"):
            cell.source = _harmless(answers.get(_key(cell), cell.source), cell.cell_type)
        whole.cells += [cell, *own.get(_key(cell), [])]
    for number, cell in enumerate(each for cells in own.values() for each in cells):
        cell.id = f"own-{number}"
    return whole


def is_check(cell):
    """Return the name of a check cell, and nothing of any other."""
    facts = cell.metadata.get("nbgrader", {})
    check_cell = cell.cell_type == "code" and facts.get("grade") and not facts.get("solution")
    return facts.get("grade_id") if check_cell else None


def _harmless(source, kind):
    """Return a student's text with no HTML in it, which on a teacher's page could act; it looks the same.

    An invisible space after the bracket makes of a tag plain text, in code as elsewhere.
    """
    return re.sub(r"<(?=[A-Za-z/!?])", "<\u200b", source) if kind == "markdown" else source


def _key(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id")


def _run_here(cell, variables):
    """Run a cell of the instructor's notebook in this process."""
    silent = io.StringIO()
    try:
        with redirect_stdout(silent), redirect_stderr(silent), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(cell.source, "<lesson>", "exec"), variables)
    except Exception as error:
        if "raises-exception" not in cell.metadata.get("tags", ()):
            line = cell.source.strip().split("\n")[0]
            raise Refusal(
                f"The cell “{line}” of the instructor's notebook fails ({error}): mend it."
            ) from error
    finally:
        plt.close("all")


def _keep(value):
    """Return a copy, which later cells cannot change; what cannot be copied stays as it is."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def _read_check(source, name):
    """Return exercise, expression of the answer and expressions of the data of a check cell."""
    calls = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check"
    ]
    if len(calls) != 1 or len(calls[0].args) != 2:
        raise Refusal(f'The check cell {name} must call `check("lesson.exercise", answer, …)` once.')
    exercise, answer = calls[0].args
    data = {keyword.arg: ast.unparse(keyword.value) for keyword in calls[0].keywords}
    return ast.literal_eval(exercise), ast.unparse(answer), data


def _feedback(question, box, reason, trouble):
    """Judge the answer that a kernel holds to a question, or say why there is none.

    Where `reason` says why judging it was stopped, the kernel is not asked again.
    """
    values, missing = {}, " and ".join(f"`{name}`" for name in question.names)
    if reason:
        return Feedback(False, f"{missing} could not be judged: {reason}.")
    for name in question.names:
        try:
            values[name] = box.value(name)
        except NameError:
            why = f": a cell above {trouble}." if trouble else "; fill in the cell above."
            return Feedback(False, f"there is no {missing}{why}", answered=bool(trouble))
        except ValueError as error:
            return Feedback(False, f"`{name}` cannot be judged: {error}.")
    return question.judge(values)


def _shown(feedback, points):
    """Return the outputs of a check cell: the feedback, and the points earned as nbgrader wants them."""
    data = {"text/plain": repr(feedback), "text/html": feedback._repr_html_()}
    earned = {"text/plain": f"{points * feedback.passed:g}"}
    return [new_output("display_data", data=data), new_output("execute_result", data=earned)]


def _error(reason):
    said = f"This cell was stopped: {reason}."
    return new_output("error", ename="Stopped", evalue=reason, traceback=[said])
