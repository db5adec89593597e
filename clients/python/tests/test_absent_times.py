"""A time that is not there has no meaning in JSON, as NaN has none."""

import datetime

import pytest

import windlass
from windlass._json import encode


def refused(*values):
    for value in values:
        with pytest.raises(windlass.NoJson, match=r"NaT.*use None"):
            encode({"items": [value]})


def test_a_time_of_numpy_that_is_not_there_is_refused():
    numpy = pytest.importorskip("numpy")
    refused(numpy.datetime64("NaT"), numpy.timedelta64("NaT"), numpy.datetime64("NaT", "ns"))
    refused(numpy.array(["2026-01-02", "NaT"], "M8[D]"))
    assert encode([numpy.datetime64("2026-01-02"), numpy.array(["2026-01-02"], "M8[D]")]) == (
        '["2026-01-02",["2026-01-02"]]'
    )


def test_a_time_of_pandas_that_is_not_there_is_refused():
    pandas = pytest.importorskip("pandas")
    refused(pandas.NaT, pandas.Timestamp("NaT"), pandas.Timedelta("NaT"))
    assert encode(pandas.Timestamp("2026-01-02")) == encode(datetime.datetime(2026, 1, 2))
