"""A cell of the grid, typed: which teachers, which student, which objective.

Its name in the paper's notation is written here and parsed nowhere: tables carry a cell's parts as columns.
"""

from dataclasses import dataclass

from kdnb.images import augment

FRESH = "fresh"
"""The origin of a teacher that starts from random weights."""

PLAIN = "kd"
"""The objective that a run's name leaves out."""

NONE = "none"
"""The objective of a student without teachers."""


@dataclass(frozen=True)
class Teacher:
    """One teacher of an ensemble."""

    place: int
    """in the ensemble, from 1: whose stream of views and whose head it has"""
    augmentation: str
    """that it is trained with"""
    origin: str = FRESH
    """a name of the profile's origins, or `FRESH`"""


@dataclass(frozen=True)
class Cell:
    """One student of the grid."""

    teachers: tuple[Teacher, ...]
    student: str
    """its augmentation"""
    objective: str
    """a name of the profile's objectives; `NONE` without teachers"""


def joined(parts: tuple[str, ...]) -> str:
    """The teachers' parts as a table's column has them, in order of place: ``weak+strong``; empty without teachers."""
    return "+".join(parts)


@dataclass(frozen=True)
class Notation:
    """How a study writes its runs' names."""

    origin: str = FRESH
    """the origin that names leave out"""

    def teacher(self, teacher: Teacher) -> str:
        """``T1w``; ``T2wB`` for a teacher of another origin, B."""
        other = "" if teacher.origin == self.origin else teacher.origin
        return f"T{teacher.place}{augment.symbol(teacher.augmentation)}{other}"

    def ensemble(self, teachers: tuple[Teacher, ...]) -> str:
        """``T1w_T2s``"""
        return "_".join(self.teacher(teacher) for teacher in teachers)

    def student(self, cell: Cell) -> str:
        """``Sw``, ``T1w_T2s_Ss``, ``T1w_T2s_Ss_zscore``"""
        parts = [self.teacher(teacher) for teacher in cell.teachers] + [f"S{augment.symbol(cell.student)}"]
        return "_".join(parts + ([cell.objective] if cell.objective not in (PLAIN, NONE) else []))


def teacher_columns(teacher: Teacher) -> dict[str, str]:
    """The parts of a teacher in a table: teachers (its augmentation) and origin; student and objective are empty."""
    return {"teachers": teacher.augmentation, "origin": teacher.origin, "student": "", "objective": ""}


def ensemble_columns(teachers: tuple[Teacher, ...]) -> dict[str, str]:
    """The parts of several teachers in a table."""
    return {
        "teachers": joined(tuple(teacher.augmentation for teacher in teachers)),
        "origin": joined(tuple(teacher.origin for teacher in teachers)),
        "student": "",
        "objective": "",
    }


def student_columns(cell: Cell) -> dict[str, str]:
    """The parts of a student in a table."""
    return ensemble_columns(cell.teachers) | {"student": cell.student, "objective": cell.objective}
