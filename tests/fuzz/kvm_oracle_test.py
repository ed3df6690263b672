#!/usr/bin/env python3
"""`xenolith fuzz --oracle kvm`: the interpreter at CPL 0 in all four modes, judged by the host's KVM, which is itself
judged: what it gets wrong is named in cpu/fuzz/kvm_quirks.cpp, and anything else is a difference.

Exit code 77: there is no /dev/kvm that can judge.
"""

import json
import os
import subprocess
import sys

BINARY = os.environ["XENOLITH_BINARY"]
SKIPPED = 77
UNAVAILABLE = 6
# A KVM that emulates ring 0 executes about half of the forms, a real one nearly all.
FEWEST_FORMS = 4000


def main():
    result = subprocess.run([BINARY, "fuzz", "--oracle", "kvm", "--count", "40000", "--json"], capture_output=True,
                            text=True, timeout=280, check=False)
    if result.returncode == UNAVAILABLE:
        print(result.stderr.strip())
        return SKIPPED
    report = json.loads(result.stdout)
    for finding in report["findings"]:
        print(f"{finding['mode']}: {finding['instruction']}: {'; '.join(finding['fields'])}")
        print(f"  xenolith fuzz --oracle kvm --reproduce '{finding['line']}'")
    judged = [form for form in report["forms"] if "not_judged" not in form]
    modes = {form["mode"] for form in judged}
    print(f"{report['tests']} tests, {len(judged)} forms in {', '.join(sorted(modes))}, "
          f"{sum(quirk['tests'] for quirk in report['quirks'])} differences are the KVM's")
    if len(judged) < FEWEST_FORMS or modes != {"long64", "protected32", "protected16", "real16"}:
        print(f"expected at least {FEWEST_FORMS} forms in four modes")
        return 1
    return 1 if report["findings"] or result.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
