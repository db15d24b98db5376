"""Benchmarks: answers asked for, scored and tabulated."""
