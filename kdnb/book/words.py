"""What pages say of results: sentences written by hand around effects that word themselves (`kdnb.evidence.effects`)."""

from collections.abc import Mapping

from kdnb.evidence.effects import LACKING
from kdnb.evidence.results import Results


class Said(str):
    """Markdown that a notebook shows as text."""

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


def say(text: str, found: Results | None = None) -> Said:
    """A paragraph, or several with blank lines between. One that needs an effect which the results lack says that instead.

    Args:
        text: Markdown; line breaks and indentation within a paragraph do not count.
        found: the results, to be named where they lack something.
    """
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        line = (
            " ".join(paragraph.split()) if not paragraph.lstrip().startswith(("- ", "|", "1.")) else paragraph.strip()
        )
        whose = f" ({found.profile.name})" if found is not None else ""
        paragraphs.append(f"*These results{whose} lack what this paragraph is about.*" if LACKING in line else line)
    return Said("\n\n".join(dict.fromkeys(paragraphs)))


def holds(found: Results, statements: Mapping[str, bool]) -> Said:
    """Which of a page's statements, written for the results of the book, do not hold in those that it shows; empty if all do.

    Args:
        statements: in the page's words → whether it holds here.
    """
    fallen = [f"- {statement}" for statement, true in statements.items() if not true]
    if not fallen:
        return Said("")
    count = f"{len(fallen)} of {len(statements)}"
    heading = f"**In these results ({found.profile.name}) {count} statements of this page do not hold:**"
    return Said("\n".join([heading, "", *fallen]))
