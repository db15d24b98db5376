"""Past one machine: images as a Ray dataset, a model a replica, finished blocks as Parquet."""
