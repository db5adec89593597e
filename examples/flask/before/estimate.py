"""Some expensive function."""


def estimate(sample):
    """The mean number of throws of two dice until each sum from 2 to 12 has come, by simulation.

    Takes a tenth of a CPU-second or so for 10,000 rounds. The same sample is the same number.
    """
    state = sample["seed"] * 2 + 1
    throws = 0
    for _ in range(sample["rounds"]):
        missing = 0b1111111111100
        while missing:
            # PCG's multiplier; the upper bits are the good ones.
            state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
            dice = (state >> 33) % 36
            missing &= ~(1 << (2 + dice // 6 + dice % 6))
            throws += 1
    return throws / sample["rounds"]
