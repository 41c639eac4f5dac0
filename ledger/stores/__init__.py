"""Event stores in memory, in SQLite and in PostgreSQL: the only place that imports a driver."""
