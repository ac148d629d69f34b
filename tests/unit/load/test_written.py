from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from premortem.load.written import csv_text, toml

VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"])) | st.booleans() | st.integers(-9, 2**40)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.\" é"), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip
STEPS = st.fixed_dictionaries(
    {"get": st.text(st.characters(exclude_categories=["Cs"]))},
    optional={"json": VALUES, "form": st.dictionaries(st.text("ab-"), VALUES, max_size=2),
              "extract": st.dictionaries(st.text("abc"), VALUES, min_size=1, max_size=2)},
)  # fmt: skip


@given(st.lists(STEPS, min_size=1, max_size=3), st.lists(STEPS, min_size=1, max_size=2))
def test_what_is_written_is_read_again(steps: list[object], task: list[object]) -> None:
    data = {
        "feeds": {"p": "p.csv"},
        "pace": [{"kind": "replay", "users": [1, 2.5], "interval_s": 60}],
        "journey": [{"name": "a", "step": steps, "task": [{"weight": 2, "step": task}]}],
    }
    assert tomllib.loads(toml(data, ["a comment\nof two lines"])) == data


def test_feeds_are_csv() -> None:
    assert csv_text([{"a": "1,5", "b": 'x"y'}]) == 'a,b\n"1,5","x""y"\n'
