"""Lists, at the end of the run, the cases that ran through stock Keras and other things that are not failures."""


def pytest_terminal_summary(terminalreporter):
    lines = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name.startswith("comparison: ") and getattr(report, "when", "") == "call":
                    lines.setdefault(name.removeprefix("comparison: "), set()).add(value)
    for title, found in sorted(lines.items()):
        terminalreporter.section(f"{title} ({len(found)})")
        for line in sorted(found):
            terminalreporter.line(line)
