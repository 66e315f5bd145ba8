"""The command line that ``course.py classroom`` passes on: make the notebooks of a class, release, grade."""

import argparse
import sys
from pathlib import Path

from classroom import Refusal
from classroom.write import find_lessons, make, write

PRODUCTS = {
    "student": "notebooks without solutions",
    "instructor": "notebooks with solutions and teaching notes",
    "nbgrader": "a course folder of nbgrader's, with points and hidden tests",
}
NEXT = {
    "student": "Give the notebooks to learners who have the course installed.",
    "instructor": "With solutions and notes: keep it to yourself.",
    "nbgrader": "`course.py classroom release` makes the students' version from it.",
}


class Parser(argparse.ArgumentParser):
    """A parser that refuses in one sentence."""

    def error(self, message):
        """Refuse a command line."""
        raise Refusal(f"That command line is not understood ({message}): run `course.py classroom --help`.")


def parser():
    """Return the parser of the command line."""
    top = Parser(prog="course.py classroom", description="Make notebooks for a class, and grade them.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for product, what in PRODUCTS.items():
        each = commands.add_parser(product, help=what, description=f"Make {what}.")
        each.add_argument("lessons", nargs="*", metavar="LESSON", help="number, name or file (default: all)")
        each.add_argument("out", type=Path, metavar="OUT", help="a new folder, or one made by this command")
    what = "make the students' version of the lessons in a course folder"
    each = commands.add_parser("release", help=what, description=f"{what.capitalize()}.")
    each.add_argument("course", type=Path, metavar="COURSE", help="a folder that `nbgrader` made")
    what = "grade what is handed in, write the feedback, grades.csv and a report on the class"
    each = commands.add_parser("grade", help=what, description=f"{what.capitalize()}.")
    each.add_argument("course", type=Path, metavar="COURSE", help="a folder that `nbgrader` made")
    each.add_argument(
        "--trust-students", action="store_true", help="run their code as you, where there is no sandbox"
    )
    return top


def main(words=None):
    """Carry out one command line and return the exit code."""
    try:
        options = parser().parse_args(words)
        if options.command in ("release", "grade"):
            return use_nbgrader(options)
        paths = find_lessons(options.lessons)
        write(make(options.command, paths), options.out, private=options.command != "student")
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.strerror} ({error.filename}): set that right, then start again.", file=sys.stderr)
        return 1
    print(f"{len(paths)} lesson{'s' * (len(paths) != 1)} in {options.out}. {NEXT[options.command]}")
    return 0


def use_nbgrader(options):
    """Release or grade, and return the exit code."""
    # Imported here, as a teacher who only makes notebooks has no nbgrader.
    from classroom.autograde import grade_class, release

    if options.command == "release":
        print("Hand out:", *release(options.course), sep="\n  ")
        return 0
    table = grade_class(options.course, trust=options.trust_students)
    print(f"The grades are in {table}, the feedback for students in {table.parent / 'feedback'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
