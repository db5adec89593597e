"""Calls with several arguments, many of them in one job: what `map` of several iterables and of a `partial` make."""

import json
from functools import partial

import pytest
import styles
from attempt import Attempt
from conftest import Server

import windlass
from windlass._archive import archive, encode_item, read_results

numpy = pytest.importorskip("numpy")

NAMES = (
    "difference", "pair", "scaled", "sized", "at_once", "quote", "options", "item_and_anything",
    "by_kind", "method", "pair_of", "stretched",
)  # fmt: skip


@pytest.fixture(scope="module", params=["cold", "warm", "json"])
def real(request, tmp_path_factory):
    more = {"json": {}, "cold": {"inputTypes": ["*/*"]}, "warm": {"inputTypes": ["*/*"], "warm": {}}}[request.param]
    server = Server(tmp_path_factory.mktemp("spread"), [f"styles:{name}" for name in NAMES], more)
    yield server
    server.stop()


@pytest.fixture
def attempt(starter):
    return starter(Attempt)


@pytest.fixture
def jobs(real):
    """How many jobs a function has had since this was asked."""
    with real.client() as client:
        seen = {}

        def of(function):
            before, seen[function] = seen.get(function, 0), len(list(client.list(function=function)))
            return seen[function] - before

        for name in NAMES:
            of(name.replace("_", "-"))
        yield of


def file_of(*columns):
    return b"".join(archive(encode_item(each) for column in columns for each in column).pieces())


def test_several_iterables_are_the_arguments_of_many_calls_in_one_job(real, jobs):
    with real.executor("difference", parallelism=2) as pool:
        # Each call has one CPU, as those of one argument.
        assert list(pool.map(styles.difference, range(5), range(0, 50, 10))) == [[-9 * n, 1] for n in range(5)]
        assert jobs("difference") == 1
        assert list(pool.map(styles.difference, range(5), [1] * 5, chunksize=2)) == [[n - 1, 1] for n in range(5)]
        assert jobs("difference") == 3
        assert list(pool.map(partial(styles.difference, by=2), [3, 5, 7], iter([1, 1]))) == [[1, 1], [2, 1]]
        assert list(pool.map(styles.difference, [], [])) == []
        assert jobs("difference") == 1


def test_a_partial_has_some_of_them(real, jobs):
    with real.executor("difference", parallelism=2) as pool:
        for called, results in [(partial(styles.difference, 9), [8, 7]), (partial(styles.difference, b=9), [-8, -7])]:
            assert [each for each, _ in pool.map(called, [1, 2])] == results
        assert jobs("difference") == 2
        for wrong, iterables, why in [
            (partial(styles.difference, b=1), ([1], [2]), "multiple values for argument 'b'"),
            (partial(styles.difference, 1, 2), ([1],), "too many positional arguments"),
            (partial(styles.difference, x=1), ([1], [2]), "unexpected keyword argument 'x'"),
            (styles.difference, ([1],), "missing a required argument: 'b'"),
            (styles.difference, ([1], [2], [3]), "too many positional arguments"),
        ]:
            with pytest.raises(TypeError, match=why):
                pool.map(wrong, *iterables)
        assert jobs("difference") == 0


def test_arrays_are_among_the_arguments(real, jobs):
    arrays = [numpy.arange(3) + number for number in range(4)]
    with real.executor("scaled", parallelism=2) as pool:
        back = list(pool.map(styles.scaled, arrays, [1, 2, 3, 4]))
        assert [each.tolist() for each in back] == [(array * (n + 1)).tolist() for n, array in enumerate(arrays)]
        back = list(pool.map(partial(styles.scaled, by=2), arrays, chunksize=2))
        assert [each.tolist() for each in back] == [(array * 2).tolist() for array in arrays]
        back = list(pool.map(partial(styles.scaled, offset=numpy.ones(3)), arrays, [2] * 4))
        assert [each.tolist() for each in back] == [(array * 2 + 1).tolist() for array in arrays]
        assert jobs("scaled") == 4
    with real.executor("pair", parallelism=2) as pool:
        back = list(pool.map(partial(styles.pair, scale=2), arrays, arrays[::-1]))
        assert [each.tolist() for each in back] == [((a - b) * 2).tolist() for a, b in zip(arrays, arrays[::-1])]
        assert jobs("pair") == 1
    with real.executor("pair-of", parallelism=2) as pool:
        # One of its arguments is a file beside the items.
        back = list(pool.map(partial(styles.pair_of, b=arrays[1]), arrays))
        assert [each.tolist() for each in back] == [(a - arrays[1]).tolist() for a in arrays]
    with real.executor("scaled", parallelism=2) as pool:
        # The first that is no JSON comes later.
        back = list(pool.map(styles.scaled, [1, 2, arrays[0], arrays[1], 3], [2] * 5))
        assert back[:2] == [2, 4] and back[2].tolist() == [0, 2, 4] and back[3].tolist() == [2, 4, 6] and back[4] == 6
        with pytest.raises(windlass.ItemsFailed) as raised:
            list(pool.map(styles.scaled, [1, arrays[0], arrays[1]], [2, 2, None]))
        assert [error.item for error in raised.value.errors] == [2]
    with real.executor("stretched", parallelism=2) as pool:
        # Results are what they are, as of calls that are jobs.
        back = list(pool.map(styles.stretched, [1, 2], [3, 1]))
        assert back[0].tolist() == [1, 1, 1] and back[1] == b"2"
    with real.executor("sized", parallelism=1) as pool:
        told = list(pool.map(styles.sized, [b"1", b"12", b"123"], [b"", b"4", b"45"], ["a", "b", "c"]))
        assert [each[:3] for each in told] == [[1, 0, "a"], [2, 1, "b"], [3, 2, "c"]]
        # The file of an item is gone when the next begins.
        assert len({each[3] for each in told}) == 1


def test_an_item_that_fails_is_told_by_its_number(real):
    with real.executor("difference", parallelism=2) as pool, pytest.raises(windlass.ItemsFailed) as raised:
        list(pool.map(styles.difference, [1, "x", 3], [1, 2, 3]))
    assert [error.item for error in raised.value.errors] == [1] and raised.value.results == {0: [0, 1], 2: [0, 1]}
    with real.executor("scaled", parallelism=2) as pool, pytest.raises(windlass.ItemsFailed) as raised:
        list(pool.map(styles.scaled, [numpy.zeros(2)] * 2, [1, None]))
    assert [error.item for error in raised.value.errors] == [1]


def test_each_call_is_a_job_where_several_cannot_be_one(real, jobs):
    with real.executor("at-once", parallelism=2) as pool:
        assert list(pool.map(styles.at_once, [1, 2], [3, 4])) == [[1, 3, 2], [2, 4, 2]]
        assert jobs("at-once") == 2
    with real.executor("options") as pool:
        # Its own parameter of this name.
        assert list(pool.map(styles.options, [1, 2], [3, 4])) == [3, 8]
        assert jobs("options") == 2
    with real.executor("quote") as pool:
        assert list(pool.map(partial(styles.quote, spread=2), [1, 2])) == [3, 4]
        assert jobs("quote") == 1
    with real.executor("item-and-anything") as pool:
        assert list(pool.map(partial(styles.item_and_anything, spread=2), [1])) == [[1, {"spread": 2}]]


def test_arguments_go_by_position_as_a_pool_gives_them(real, jobs):
    with real.executor("by-kind", parallelism=1) as pool:
        assert list(pool.map(styles.by_kind, [1, "x"], [2, 3])) == ["int 1 2", "str x 3"]
        assert list(pool.map(partial(styles.by_kind, 5), [2, 3])) == ["int 5 2", "int 5 3"]
        assert jobs("by-kind") == 2
    with real.executor("method", parallelism=1) as pool:
        assert list(pool.map(styles.method, [1], [2])) == [[1, 2]]


def given(**fields):
    return json.dumps(fields)


@pytest.mark.parametrize(
    "text,said",
    [
        (given(items=[[1, 2]], spread=0), "/spread must be how many arguments are in each item"),
        (given(items=[[1, 2]], spread=True), "/spread must be"),
        (given(items=[[1, 2]], spread="2"), "/spread must be"),
        (given(items=[[1, 2]], spread=3), "/spread is 3: difference(a, b, *, by=1) takes 2 in an item"),
        (given(items=[[1]], spread=2, a=1), "/spread is 2: difference(a, b, *, by=1) takes 1 in an item"),
        (given(items=[[1]], spread=1), "/b is missing"),
        (given(items=[[1]], spread=2), "/items/0 has no 'b'"),
        (given(items=[[1, 2], [1, 2, 3]], spread=2), "/items/1 has 3 arguments"),
        (given(items=[[1, 2], 3], spread=2), "/items/1 must be a list"),
        (given(items={}, spread=2), "/items must be a list"),
        (given(items=[[1, 2]], spread=2, x=1), "unknown field at /x"),
        (given(items=[[1, 2]]), "unknown field at /items"),
    ],
)
def test_what_is_wrong_is_said(attempt, text, said):
    assert said in attempt("styles:difference", text).refusal()


def test_a_file_has_the_members_of_all_items(attempt):
    files = {"items": file_of([numpy.zeros(2)] * 3)}
    said = attempt("styles:scaled", given(spread=2), files=files).refusal()
    assert "the file 'items' has 3 members, and 2 for each item" in said
    files = {"items": file_of([numpy.zeros(2), numpy.ones(2)], [2, 3])}
    one = attempt("styles:scaled", given(spread=2, keepGoing=True), files=files)
    assert [each.tolist() for each in read_results(one.output())["results"]] == [[0, 0], [3, 3]]


def test_its_own_parameter_is_its_argument(attempt):
    assert attempt("styles:options", given(strike="spread", spread=2)).value() == "spreadspread"


def test_an_input_that_only_looks_so_is_that_of_one_call(attempt):
    assert attempt("styles:difference", given(a=5, b=1, by=2)).value() == [2, 2]
    assert attempt("styles:at_once", given(a="spread", b="items")).value() == ["spread", "items", 2]


@pytest.mark.parametrize("target", ["difference", "same"])
def test_an_input_that_is_nested_too_deep_is_refused(attempt, target):
    deep = '{"spread": "items", "items": ' + "[" * 100_000
    assert "its JSON is nested too deep" in attempt(f"styles:{target}", deep).refusal()


def test_a_marked_function_has_no_such_jobs(attempt):
    assert "unknown field at /items" in attempt("styles:at_once", given(items=[[1, 2]], spread=2)).refusal()
    assert "takes an input of the type image/*" in attempt("styles:picture", given(items=[[1]], spread=1)).refusal()


def test_the_calls_of_a_job_have_all_its_processes(attempt, tmp_path):
    # Each waits for the other.
    assert attempt("styles:meet", given(items=[[1, 2], [3, 4]], spread=2, at=str(tmp_path))).results() == [3, 7]
