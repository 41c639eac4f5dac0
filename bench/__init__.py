"""Benchmarks: one file per question, each compared with stock eventsourcing or with plain SQL."""
