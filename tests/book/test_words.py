"""Paragraphs around effects, and the list of statements that do not hold."""

from kdnb.book.words import holds, say
from kdnb.evidence import results
from kdnb.evidence.effects import Effect

FOUND = results.read(results.home() / "smoke")


def test_a_paragraph_is_one_line_and_a_list_keeps_its_lines():
    assert (
        say("""
        One sentence
        in two lines.

        - a
        - b
    """)
        == "One sentence in two lines.\n\n- a\n        - b"
    )


def test_what_the_results_lack_is_said_once_in_the_place_of_its_paragraphs():
    none = Effect("K0", "what", ())
    text = say(f"It is {none:less|the same|more}.\n\nSo be it.\n\nAnd {none:points}.", FOUND)
    assert text == "*These results (smoke) lack what this paragraph is about.*\n\nSo be it."


def test_statements_that_do_not_hold_are_listed_and_others_are_not():
    assert holds(FOUND, {"so it is": True}) == ""
    text = holds(FOUND, {"so it is": True, "so it is not": False})
    assert "1 of 2 statements" in text
    assert "- so it is not" in text
    assert "so it is\n" not in text
