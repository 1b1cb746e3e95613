"""Results to people and programs: one module a form."""

from pmapdiff.report.base import View, check_by, forms_of, write_report

__all__ = ["View", "check_by", "forms_of", "write_report"]
