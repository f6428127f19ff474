"""JUnit XML: a test suite for each target, a test case for each finding, one that passed where there is none.

The schema is the one that Jenkins, GitLab and Azure read (`testsuites/testsuite/testcase/failure`).
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from nnlint.finding import Level
from nnlint.report import Report, TargetReport
from nnlint.reporters.options import ReportOptions
from nnlint.reporters.rows import Row, rows

#: Characters that XML 1.0 cannot carry, not even as references.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report, options: ReportOptions) -> str:
    """Errors and warnings are failures, an unchecked target is an error, infos are system-out of the passed case."""
    root = ET.Element("testsuites", name="nnlint")
    table = list(rows(report, options))
    for result in report.results:
        _suite(root, result, [row for row in table if row.target == result.target])
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, result: TargetReport, table: list[Row]) -> None:
    suite = ET.SubElement(root, "testsuite", name=_xml(result.target))
    counts = {"failure": 0, "error": 0, "info": 0, "skipped": len(result.skipped)}
    for row in table:
        counts[_case(suite, row)] += 1
    for skipped in result.skipped:
        case = ET.SubElement(
            suite, "testcase", classname=_xml(result.target), name=_xml(f"{skipped.code} {skipped.name}")
        )
        ET.SubElement(case, "skipped", message=_xml(skipped.reason))
    if not table:
        ET.SubElement(suite, "testcase", classname=_xml(result.target), name="no findings")
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", str(counts["error"]))
    suite.set("skipped", str(counts["skipped"]))
    suite.set("time", f"{result.timings.get('total', 0.0):.3f}")


def _case(suite: ET.Element, row: Row) -> str:
    """Add the case of a row; returns what it counts as."""
    name = f"{row.code} {row.name}".strip() or "check"
    case = ET.SubElement(suite, "testcase", classname=_xml(row.target), name=_xml(f"{name} [{row.place}]"))
    if row.file is not None:
        case.set("file", _xml(row.file))
        case.set("line", str(row.line))
    if row.level is Level.INFO:
        ET.SubElement(case, "system-out").text = _xml(row.text)
        return "info"
    kind = "error" if row.finding is None or row.code.startswith("RUN") else "failure"
    found = ET.SubElement(case, kind, type=row.level.value, message=_xml(row.message))
    found.text = _xml(f"{row.place}\n{row.text}")
    return kind


def _xml(text: str) -> str:
    return _FORBIDDEN.sub("?", text)
