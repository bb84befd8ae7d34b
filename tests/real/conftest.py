"""The option --write-families, and docs/families.md, which the tests here write."""

import pytest
import real_table


def pytest_addoption(parser):
    """Adds --write-families."""
    parser.addoption(
        "--write-families",
        action="store_true",
        help="write what these tests find to docs/families.md",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Writes the cell of a test that passed or failed, or compares it."""
    report = yield
    column = item.get_closest_marker("column")
    if column is None or report.skipped or report.when == "teardown":
        return report
    if report.when == "setup" and report.passed:
        return report
    family = item.callspec.params["served"]
    cells = dict(item.user_properties) if report.passed else {column.args[0]: "no"}
    if item.config.getoption("--write-families"):
        real_table.write(family, cells)
    elif report.passed:
        wrong = real_table.contradictions(family, cells)
        if wrong:
            report.outcome, report.longrepr = "failed", wrong
    return report
