"""Results to people and programs: one module a form."""

from importlib import import_module
from pkgutil import iter_modules

from pmapdiff.report.base import View, check_by, forms_of, write_report

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["View", "check_by", "forms_of", "write_report"]
