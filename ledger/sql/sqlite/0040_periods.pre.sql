-- Accounting periods: until when the books are closed. Entries are held to it as they are held to the
-- constrained accounts, through constraint_generation, which closing and reopening raise.
ALTER TABLE orderledger_books ADD COLUMN closed_until TEXT
    CHECK (closed_until IS NULL OR length(closed_until) = 32);
