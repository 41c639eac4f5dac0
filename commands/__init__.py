"""Commands and the loop that loads, decides and appends, once per idempotency key."""
