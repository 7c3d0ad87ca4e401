"""Batch prediction: many images in, one Parquet file of answers out, a shard at a time.

session.py      the whole flow: what was begun, what is missing, the engine, the end
manifest.py     what an output depends on: only the same command goes on with it
registered.py   which version of the registered model answers
listing.py      the images below a folder, in order, as rows of a Parquet file
opening.py      from a path to the rows that are meant
source.py       rows of Parquet files, read in order and never all at once
parts.py        finished shards on disk, and the one file that they become
job.py          what both engines share: which rows a shard has, and what is written of them
local.py        the engine that is this process
spark.py        the engine that is Apache Spark; stages.py: what its processes do
progress.py     what a person watches meanwhile
"""
