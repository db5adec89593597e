"""What several tests assert."""


def assert_progress_in_between(told, total):
    """What a follower was told counts up to the total, while the function runs."""
    progress = [(job.status.phase, job.status.progress) for job in told if job.status.progress]
    done = [each.done for _, each in progress]
    assert done == sorted(done) and done[-1] == total
    running = {each.done for phase, each in progress if phase == "Running"}
    assert len([count for count in running if 0 < count < total]) >= 2, done
    assert all(each.total == total and each.fraction == each.done * 1000 // total / 1000 for _, each in progress)
