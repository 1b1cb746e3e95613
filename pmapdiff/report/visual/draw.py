"""Pictures drawn by Vega, without a browser: vl-convert-python brings Vega and what runs it (extra `report`)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pmapdiff.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

Spec = dict[str, Any]
"""A specification in Vega's language, which is JSON."""

SCHEMA = "https://vega.github.io/schema/vega/v6.json"  # A name: nothing is fetched from there.
_PNG_SCALE = 2.0


@cache
def _vega() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise UsageError(f"pictures need vl-convert-python ({error}): pip install 'pmapdiff[report]'") from None
    return vl_convert


def check_pictures() -> None:
    """Raise UsageError if what draws is not there: before anything that takes long."""
    _vega()


def svg_of(spec: Spec) -> str:
    """A picture as SVG. Raises UsageError without vl-convert-python."""
    drawn: str = _vega().vega_to_svg(spec)
    return drawn


def png_of(spec: Spec) -> bytes:
    """A picture as PNG, two points of it for each of the specification. Raises UsageError without vl-convert-python."""
    drawn: bytes = _vega().vega_to_png(spec, scale=_PNG_SCALE)
    return drawn


@cache
def script_with_vega(script: str) -> str:
    """A script together with Vega (`vegaEmbed` in it), as a module that needs no other. Raises UsageError without vl-convert-python.

    Of Vega-Lite, which comes with it, nothing is used; but there, too, is the interpreter that Vega needs where a page forbids `eval`.
    """
    bundled: str = _vega().javascript_bundle(script)
    # Within an element `script` nothing else ends it, or begins one within it.
    return bundled.replace("</script", "<\\/script").replace("<!--", "<\\!--")
