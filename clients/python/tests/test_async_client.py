"""`windlass.AsyncClient` against a real server: the same as `Client`, so less of it."""

import asyncio
import concurrent.futures
import functools
import inspect
import json
import pickle
import time

import pytest
from checks import assert_progress_in_between

import windlass


def in_loop(test):
    @functools.wraps(test)
    def run(server):
        async def with_client():
            async with server.async_client() as client:
                await test(client)

        asyncio.run(with_client())

    # pytest looks for fixtures in the signature.
    del run.__wrapped__
    return run


def test_both_clients_have_the_same_methods():
    def methods(kind):
        return {
            name: [p.name for p in inspect.signature(value).parameters.values()]
            for name, value in vars(kind).items()
            if not name.startswith("_")
        }

    assert methods(windlass.Client) == methods(windlass.AsyncClient)
    assert list(methods(windlass.Client)) == list(methods(windlass.AsyncClient))


@in_loop
async def test_calls_run_beside_each_other(client):
    answers = await asyncio.gather(*(client.call("echo", {"n": n}) for n in range(20)))
    assert [answer["input"] for answer in answers] == [{"n": n} for n in range(20)]


@in_loop
async def test_a_job_is_submitted_followed_and_read(client):
    job = await client.submit("slow", {"items": [0.4] * 6}, labels={"test": "async"})
    assert_progress_in_between([told async for told in client.progress(job)], 6)
    assert json.loads(await client.result(job)) == {"results": [0.4] * 6}
    assert (await client.explain(job)).phase == "Succeeded"
    assert await client.logs(job) == ""
    assert job.metadata.name in {job.metadata.name async for job in client.list(label_selector="test=async")}
    again = await client.retry(job)
    assert again.metadata.annotations["windlass.dev/retry-of"] == job.metadata.name
    for each in (again, job):
        await client.delete(each)
    with pytest.raises(windlass.NotFound):
        await client.get(job)


@in_loop
async def test_a_map_gives_results_in_order_and_cancels_the_rest(client):
    results = client.map("square", ({"items": [i]} for i in range(10)), ahead=3)
    assert [result["results"] async for result in results] == [[i * i] for i in range(10)]
    slow = ({"items": [seconds]} for seconds in (0.01, 30, 30))
    results = client.map("slow", slow, parallelism=1, labels={"test": "map"})
    assert await results.__anext__() == {"results": [0.01]}
    active = ("Queued", "Starting", "Running")
    running = [job async for job in client.list(label_selector="test=map") if job.status.phase in active]
    await results.aclose()
    assert {(await client.wait(job, timeout_seconds=20)).status.phase for job in running} == {"Cancelled"}


@in_loop
async def test_errors_are_those_of_the_other_client(client):
    with pytest.raises(windlass.JobFailed, match="ValueError: bad cannot be had"):
        await client.call("fail", {"items": ["bad"]}, retries=0)
    with pytest.raises(windlass.Invalid) as caught:
        await client.submit("square", {}, parallelism=5000)
    assert caught.value.problems[0].pointer == "/parallelism"


@in_loop
async def test_a_wait_can_be_given_up_and_has_a_timeout(client):
    job = await client.submit("slow", {"items": [20]})
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await client.wait(job, timeout_seconds=0.5)
    with pytest.raises((TimeoutError, asyncio.TimeoutError)):
        await asyncio.wait_for(client.wait(job), 0.3)
    assert time.monotonic() - began < 3
    await client.cancel(job)
    assert (await client.wait(job)).status.phase == "Cancelled"


@in_loop
async def test_functions_are_listed(client):
    assert "square" in {function.metadata.name for function in await client.functions()}
    assert (await client.function("square")).metadata.name == "square"


def test_each_loop_has_connections_of_its_own(server):
    client = server.async_client()

    async def call():
        return (await client.call("echo", {"n": 1}))["input"]

    def call_often():
        return [asyncio.run(call()) for _ in range(3)]

    assert call_often() == [{"n": 1}] * 3
    # At the same time in other threads, too.
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(call_often) for _ in range(3)]
        assert [answer.result(timeout=60) for answer in answers] == [[{"n": 1}] * 3] * 3
    # Closing in another loop, and going on after it.
    asyncio.run(client.close())
    assert call_often() == [{"n": 1}] * 3
    assert pickle.loads(pickle.dumps(client))._target.server == server.url


def test_a_client_is_closed_for_a_loop_that_runs_in_another_thread(server):
    client = server.async_client()

    async def call_and_close():
        await client.call("echo", {"n": 1})
        http = client._connection()
        await asyncio.to_thread(lambda: asyncio.run(client.close()))
        return http.is_closed

    assert asyncio.run(call_and_close())
