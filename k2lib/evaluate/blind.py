"""What an answer is worth that was given without reading the question.

A kind of problems where "1" is right three times in four can be learned by saying "1". RL finds such a way, and success rises as if
a skill had been learned; so every gain is seen beside this number.
"""

from collections.abc import Sequence

from k2lib.gym.problem import Question


def blind(problems: Sequence[Question]) -> float:
    """The largest share of the problems that one of their answers solves, given to all of them. ValueError for no problem."""
    if not problems:
        raise ValueError("no problem is given; what one answer solves of none is not known")
    answers = {problem.answer for problem in problems}
    return max(sum(problem.right(answer) for problem in problems) for answer in answers) / len(problems)
