"""A figure as inline SVG, for a page."""

import hashlib
import html
import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kdnb.book.style import FAMILY, styled


def to_svg(drawn: Axes | Figure | Sequence[Axes] | NDArray[Any], alt: str) -> str:
    """Inline SVG of a figure, the same bytes each time: transparent, black as ``currentColor``, so that it suits both themes.

    Args:
        drawn: a figure, or axes of it.
        alt: what the figure shows, for those who do not see it. Its hash makes ids unique among the SVGs of a page.

    Raises:
        ValueError: no alt text.
    """
    if not alt.strip():
        raise ValueError("a figure needs alt text: a sentence that says what it shows")
    figure = drawn if isinstance(drawn, Figure) else np.ravel(np.asarray(drawn, dtype=object))[0].get_figure(root=True)
    salt = "f" + hashlib.sha256(alt.encode()).hexdigest()[:8]
    buffer = io.StringIO()
    with styled(), matplotlib.rc_context({"svg.hashsalt": salt}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    body = re.sub(r"<!--.*?-->|<style.*?</style>|<defs>\s*</defs>", "", buffer.getvalue(), flags=re.S)
    body = body[body.index("<svg") :]
    opening = body[: body.index(">") + 1]
    found = re.search(r'viewBox="([^"]+)"', opening)
    assert found is not None  # matplotlib always writes it
    width = float(found[1].split()[2])
    body = body.removeprefix(opening).replace("#000000", "currentColor").replace("'DejaVu Sans'", FAMILY)
    # matplotlib names parts by a hash of their places, whose last bits differ from run to run; a number does not
    names = {
        name: f"{salt}-{n}" for n, name in enumerate(dict.fromkeys(re.findall(r'(?:url\(|href=")#([\w-]+)', body)))
    }
    body = re.sub(r' id="([^"]+)"', lambda match: f' id="{names[match[1]]}"' if match[1] in names else "", body)
    body = re.sub(r'(url\(|href=")#([\w-]+)', lambda match: f"{match[1]}#{names[match[2]]}", body)
    said = html.escape(alt.strip())
    opened = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{found[1]}" '
        f'width="100%" style="max-width: {width * 1.4:.0f}px; height: auto" fill="currentColor" stroke-linejoin="round" '
        f'stroke-linecap="butt" role="img" aria-label="{said}"><title>{said}</title>'
    )
    return "\n".join(line for line in map(str.strip, (opened + body).splitlines()) if line)
