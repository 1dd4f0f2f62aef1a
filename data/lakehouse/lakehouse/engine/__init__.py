"""Where frames are computed. Transforms import narwhals and xp, nothing else."""
