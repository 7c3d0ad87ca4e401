"""Batch prediction: many images in, one Parquet file of predictions out, a shard at a time.

predict.py         the command `predict`: what was begun, what is missing, the engine, the end
inputs.py          from a path to the rows to classify
parquet_rows.py    those rows, read in order and never all at once
model_version.py   the version that predicts, and what is known of it before it is loaded
manifest.py          what an output depends on: only the same command goes on with it
shards.py          finished shards on disk, and the one file that they become
job.py             what both engines share: which rows a shard has, what is read and written
local_engine.py    the engine that is this process
spark_engine.py    the engine that is Apache Spark; spark_stages.py: what its processes do
"""
