"""`windlass.Client` in several processes and threads."""

import concurrent.futures
import multiprocessing
import threading

ECHO = {"hello": "world"}
ANSWER = {"input": ECHO, "parallelism": 1, "threads": 1}


def test_a_client_is_usable_on_both_sides_of_a_fork(client):
    assert client.call("echo", ECHO) == ANSWER
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    children = [context.Process(target=lambda: answers.put(client.call("echo", ECHO))) for _ in range(4)]
    for child in children:
        child.start()
    assert client.call("echo", ECHO) == ANSWER
    assert [answers.get(timeout=20) for _ in children] == [ANSWER] * 4
    for child in children:
        child.join(20)


def test_a_fork_while_another_thread_opens_the_connections_leaves_the_child_free(client):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    with client._connections.lock:
        child = context.Process(target=lambda: answers.put(client.call("echo", ECHO)))
        child.start()
    assert answers.get(timeout=20) == ANSWER
    child.join(20)


def call_echo(client):
    return client.call("echo", ECHO)


def test_a_client_can_be_handed_to_a_fresh_process(client):
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(call_echo, client).result(timeout=60) == ANSWER


def test_threads_share_a_client(client):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(client.call("echo", ECHO))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [ANSWER] * 16
