"""`windlass.Executor` with the function itself, as a pool takes it."""

import subprocess
import sys
from functools import partial, wraps

import callees
import pytest
import styles


def test_it_takes_the_registered_function_as_a_pool_does(server, phases):
    with server.executor("with-setting", parallelism=2) as pool:
        assert pool.submit(styles.with_setting, 3, factor=2).result(timeout=20) == 6
        assert pool.submit(styles.with_setting, item=3, factor=2, add=1).result(timeout=20) == 7
        assert list(pool.map(partial(styles.with_setting, factor=10), [1, 2, 3])) == [10, 20, 30]
        assert phases("with-setting") == ["Succeeded"] * 3
        for misuse, why in [
            (lambda: pool.submit(styles.with_setting, 3), "missing a required argument: 'factor'"),
            (lambda: pool.submit(styles.with_setting, 3, factor=1, ad=2), "unexpected keyword argument 'ad'"),
            (lambda: pool.map(styles.with_setting, [3]), "missing a required argument: 'factor'"),
        ]:
            with pytest.raises(TypeError, match=why):
                misuse()
        assert len(phases("with-setting")) == 3
    with server.executor("several") as pool:
        assert pool.submit(styles.several, 1, b=2).result(timeout=20)["sum"] == 3
        assert [each["sum"] for each in pool.map(styles.several, [1, 2], [10, 20])] == [11, 22]
    with server.executor("pair") as pool:
        assert pool.submit(styles.pair, 3, 1, scale=2).result(timeout=20) == 4
        assert list(pool.map(partial(styles.pair, scale=2), [3, 5], [1, 1])) == [4, 8]
    with server.executor("square") as pool:
        assert pool.submit(callees.square, 3).result(timeout=20) == 9
        assert list(pool.map(callees.square, range(10), chunksize=4)) == [x * x for x in range(10)]


def test_it_says_at_once_what_it_cannot_take(server, phases):
    def local(x):
        return x

    @wraps(callees.square)
    def wrapper(x):
        return -callees.square(x)

    with server.executor("square") as pool:
        for function, why in [
            (lambda x: x, "a lambda has no name"),
            (local, "local is defined in another function"),
            (callees.slow, "callees:slow is another function"),
            (partial(callees.slow), "callees:slow is another function"),
            (styles.Thing(1).__init__, "styles:Thing.__init__ is another function"),
        ]:
            for use in (pool.submit, pool.map):
                with pytest.raises(TypeError, match=rf"'square' \(callees:square\): .*{why}"):
                    use(function, [1])
        for use in (pool.submit, pool.map):
            with pytest.raises(TypeError, match="it only has that function's name"):
                use(wrapper, [1])
        with pytest.raises(TypeError, match="too many positional arguments"):
            pool.submit(callees.square, 1, 2)
    with server.executor("echo") as pool, pytest.raises(TypeError, match=r"no function of windlass\.worker"):
        pool.submit(callees.square, 1)
    assert phases("square") == []


def test_the_function_of_the_program_itself_is_that_of_its_file(server, tmp_path):
    program = tmp_path / "styles.py"
    program.write_text(f"""
import windlass

def pair(a, b, *, scale=1):
    raise SystemExit("it runs here")

client = lambda: windlass.AsyncClient({server.url!r}, data={str(server.data)!r})
with windlass.Executor("several", client=client) as pool:
    try:
        pool.submit(pair, 1, 2)
    except TypeError as error:
        assert "styles:pair is another function" in str(error), error
with windlass.Executor("pair", client=client) as pool:
    print(pool.submit(windlass.function(items=True)(pair), 1, 2).result())
""")
    assert subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60).stdout == "-1\n"
