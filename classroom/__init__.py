"""From one lesson file to the notebooks of a class: the student's, the instructor's and the graded one."""


class Refusal(Exception):
    """One sentence: what is wrong and what to do."""
