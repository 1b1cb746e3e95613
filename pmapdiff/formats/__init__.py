"""Text forms of mapping tables, each in a module of its own that registers itself."""

from pmapdiff.formats.base import Form, SavedTable, all_forms, parse_saved

__all__ = ["Form", "SavedTable", "all_forms", "parse_saved"]
