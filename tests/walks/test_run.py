"""The walks' runner finds commands, and what they do not do as their page says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from walks.run import Step, problem, steps, walk

PAGE = """# A page

```console
$ printf 'one\\ntwo\\n'
one
...
$ printf '%s' \\
    joined
```

```sh
$ this is not run
```

```console
$ true
```
"""


def test_commands_are_found_with_what_they_print():
    assert list(steps(PAGE)) == [Step(4, r"printf 'one\ntwo\n'", "one\n...\n"), Step(7, "printf '%s'     joined", ""),
                                 Step(16, "true", "")]


@pytest.mark.parametrize(("command", "printed", "reason"), [
    ("echo a", "a\n", ""), ("echo a", "", ""), ("echo a  b", "a b\n", ""),
    ("echo a", "b\n", "instead of"), ("exit 3", "", "ended with 3"), ("echo why >&2; false", "", "why"),
])
def test_what_differs_is_told(command, printed, reason, tmp_path):
    found = problem(Step(1, command, printed), tmp_path, os.environ)
    assert bool(found) == bool(reason) and reason in found


def test_python_of_a_page_is_run(tmp_path, capsys):
    for value, wrong in (("2", 0), ("3", 1)):
        page = tmp_path / "page.md"
        page.write_text(f"```python\n>>> 1 + 1\n{value}\n\n```\n", encoding="utf-8")
        assert len(walk(page, tmp_path, os.environ, Path(sys.executable))) == wrong
