"""Text forms of mapping tables, each in a module of its own that registers itself."""

from importlib import import_module
from pkgutil import iter_modules

from pmapdiff.formats.base import Form, SavedTable, all_forms, parse_saved

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["Form", "SavedTable", "all_forms", "parse_saved"]
