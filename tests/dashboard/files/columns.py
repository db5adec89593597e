"""Makes columns.parquet, by pyarrow: a column for each compression, and one for each way to write a type."""

import datetime
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 400
START = datetime.datetime(2026, 1, 1, 12, 30, tzinfo=datetime.timezone.utc)
at = range(ROWS)
table = pa.table(
    {
        "name": [f"name {i}" for i in at],
        "price": [i / 4 for i in at],
        "large": [2**60 + i for i in at],
        "time": pa.array([START + datetime.timedelta(hours=i) for i in at], pa.timestamp("us", "UTC")),
        "day": [START.date() + datetime.timedelta(days=i) for i in at],
        "tags": [["a", f"b{i % 3}"] if i % 2 else None for i in at],
        "place": [{"x": i, "y": float(i)} for i in at],
        "bytes": [bytes([i % 256, 255]) for i in at],
        "small": pa.array([i % 200 for i in at], pa.uint8()),
        "<img src=x onerror=hacked=1>\u202e": [None for _ in at],
        "is_even": [i % 2 == 0 for i in at],
    }
)
pq.write_table(
    table,
    pathlib.Path(__file__).with_name("columns.parquet"),
    row_group_size=150,
    compression={"name": "zstd", "price": "gzip", "large": "lz4", "is_even": "none"}
    | dict.fromkeys(("time", "day", "bytes", "small"), "snappy"),
)
